"""A POV-Ray scene and its frames as steps: `frames` renders them, `film` makes film.mp4 and contact.png of them."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from farm.model import File, Range, StepSpec
from farm.refusal import Refusal
from farm.workloads import Put
from farm.workloads.render import film as film_script
from farm.workloads.render.frames import parse_frames, to_ranges
from farm.workloads.render.scene import files_read, read_scene, turntable

MOST_RUNS = 64
LARGEST = 16_384
QUIET = ("-D", "-GR", "-GS", "-V")  # no window, and only warnings and errors in the log
EACH = 'first=$1 step=$2 last=$3; shift 3; for n in $(seq "$first" "$step" "$last"); do "$@" +SF$n +EF$n || exit; done'
"""POV-Ray's frame subsets know no step: a shell goes through those of a chunk."""


def plan_render(
    scene: Path,
    frames: str,
    *,
    put: Put,
    size: str = "480x270",
    chunk: int = 1,
    film: bool = False,
    rate: int = 24,
    of: str = "",
    turn: bool = False,
    options: Sequence[str] = (),
    includes: Sequence[Path] = (),
) -> tuple[StepSpec, ...]:
    """The steps of a render; a job adds name, owner and lane.

    `frames` as in `1-240:2`; `of` is the whole film's range when `frames` is only part of it, for the clock: frame n
    has clock (n - first) / (last - first + 1), so that the last frame does not repeat the first. `size` is WxH pixels,
    `chunk` frames a task, `rate` frames a second. `turn` carries the camera round the scene. `options` are POV-Ray's
    own, such as `+A0.3`; `includes` are files beyond those that the scene names. Raises Refusal.
    """
    runs = _runs(frames)
    whole = _whole(frames, of) if of else Range(first=runs[0].first, last=runs[-1].last)
    inputs = _inputs(scene, includes, turn, put)
    options = (*_options(options), *_picture(size), *_clock(whole))
    steps = tuple(
        StepSpec(
            name="frames" if number == 0 else f"frames-{number + 1}",
            argv=_command(inputs[0].path, options, run, chunk),
            array=run,
            chunk=chunk,
            order="ends-first",
            inputs=inputs,
            outputs=("frame*.png",),
        )
        for number, run in enumerate(runs)
    )
    return (*steps, _film(steps, rate, put)) if film else steps


def _runs(frames: str) -> tuple[Range, ...]:
    runs = to_ranges(parse_frames(frames))
    if len(runs) > MOST_RUNS:
        raise Refusal(f"{len(runs)} separate runs of frames", "--frames", f"name at most {MOST_RUNS}, or whole ranges")
    return runs


def _whole(frames: str, of: str) -> Range:
    """The film that these frames are part of. Raises Refusal when one of them is not."""
    film = parse_frames(of, "--of")
    whole = Range(first=film[0], last=film[-1])
    outside = [frame for frame in parse_frames(frames) if not whole.first <= frame <= whole.last]
    if outside:
        what = f"frame {outside[0]} is outside of the whole film, {whole.first}-{whole.last}"
        raise Refusal(what, "--of", "name the range of the whole film, or leave --of out")
    return whole


def _command(scene: str, options: Sequence[str], run: Range, chunk: int) -> tuple[str, ...]:
    povray = ("povray", *options, f"+I{scene}", "+Oframe.png", "+FN", "+WT1", *QUIET)
    if chunk == 1 or run.step == 1:
        return (*povray, "+SF{first}", "+EF{last}")
    return ("sh", "-c", EACH, "sh", "{first}", "{step}", "{last}", *povray)


def _clock(whole: Range) -> tuple[str, ...]:
    """A film of one frame is given a second one that nobody renders: POV-Ray numbers and clocks only films."""
    return (f"+KFI{whole.first}", f"+KFF{max(whole.last, whole.first + 1)}", "+KC")


def _picture(size: str) -> tuple[str, str]:
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", size.strip())
    if not match or max(int(match[1]), int(match[2])) > LARGEST:
        raise Refusal(f"{size!r} is no size of a picture", "--size", f"write 480x270, at most {LARGEST} a side")
    return f"+W{int(match[1])}", f"+H{int(match[2])}"


def _options(options: Sequence[str]) -> tuple[str, ...]:
    for option in options:
        if not re.fullmatch(r"[+-][A-Za-z][^\0]*|[A-Za-z_]+=[^\0]*", option):
            raise Refusal(f"{option!r} is no option of POV-Ray", remedy="write options such as +A0.3 or Antialias=on")
    return tuple(options)


def _inputs(scene: Path, includes: Sequence[Path], turn: bool, put: Put) -> tuple[File, ...]:
    """The scene first."""
    text = read_scene(scene)
    read = {**files_read(scene, text), **{_beside(path, scene.parent): path for path in includes}}
    with tempfile.TemporaryDirectory(prefix="farm-scene-") as folder:
        edited = Path(folder, "scene.pov")
        edited.write_bytes(_edited(text, turn, scene).encode("utf-8", "surrogateescape"))
        first = _named(put(edited), _plain_name(scene))
    return (first, *(_named(put(read[name]), _sayable(name)) for name in sorted(read)))


def _edited(text: str, turn: bool, scene: Path) -> str:
    try:
        return turntable(text) if turn else text
    except Refusal as refusal:
        raise Refusal(refusal.what, str(scene), refusal.remedy) from refusal


def _plain_name(scene: Path) -> str:
    """POV-Ray splits names at spaces, and reads some signs as options."""
    name = scene.name.removesuffix(".gz")
    return name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) else "scene.pov"


def _sayable(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Refusal("the name of a file is not UTF-8", repr(name), "rename it") from error
    return name


def _named(file: File, path: str) -> File:
    return file.model_copy(update={"path": path})


def _beside(path: Path, folder: Path) -> str:
    """Its place below the scene's folder, else just its name."""
    whole, folder = path.resolve(), folder.resolve()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else path.name


def _film(steps: Sequence[StepSpec], rate: int, put: Put) -> StepSpec:
    if not 1 <= rate <= 240:
        raise Refusal(f"{rate} frames a second is no film", "--rate", "choose 1 to 240")
    return StepSpec(
        name="film",
        argv=("{python}", "film.py", "frames", str(rate)),
        inputs=(_named(put(Path(film_script.__file__)), "film.py"),),
        outputs=("film.mp4", "contact.png"),
        after=tuple(step.name for step in steps),
        gather="frames",
    )
