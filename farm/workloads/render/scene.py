"""What a POV-Ray scene reads, found in its text, and the turntable edit."""

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from farm.refusal import Refusal

MOST_BYTES = 256 << 20
# What is opened and not closed matches too, up to the end: else each of many openings would be searched to the end.
_WORDS = re.compile(r'//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*+"?', re.DOTALL)
_LOCATION = re.compile(r"\blocation\s*(<[^<>]*>)")
_CAMERA = re.compile(r"\bcamera\s*\{")
_READABLE = (".pov", ".inc", ".map", ".mcr", ".macro", ".txt")


def read_scene(path: Path) -> str:
    """The text of a `.pov` file, also one that is compressed (`.pov.gz`). Raises Refusal for anything else."""
    name = path.name.lower()
    if not name.endswith((".pov", ".pov.gz")):
        raise Refusal("this is no POV-Ray scene", str(path), "name a file that ends in .pov")
    try:
        data = _unpacked(path) if name.endswith(".gz") else _bytes(path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refusal("this is not what gzip makes", str(path), "name the .pov file itself") from error
    if not data.strip() or b"\0" in data:
        raise Refusal("this is not the text of a scene", str(path), "name a file in POV-Ray's language")
    return data.decode("utf-8", "surrogateescape")


def files_read(scene: Path, text: str) -> Mapping[str, Path]:
    """Files of the scene's own folder that the scene names, and those that these name: relative POSIX path → file.

    What is found nowhere here is one of the stock files that come with POV-Ray, or POV-Ray will say what it misses.
    Raises Refusal for a file outside the folder: an executor would not find it.
    """
    folder = scene.parent.resolve()
    found: dict[str, Path] = {}
    waiting = [text]
    while waiting:
        for name in _names(waiting.pop()):
            if name in found or not _is_file(folder / name):
                continue
            found[name] = _inside(folder, name)
            if found[name].suffix.lower() in _READABLE:
                waiting.append(_bytes(found[name]).decode("utf-8", "surrogateescape"))
    return found


def turntable(text: str) -> str:
    """The scene with its camera carried once round the y axis while the clock goes from 0 to 1. Raises Refusal.

    One edit: `location <…>` of the only camera becomes `location vrotate(<…>, y*360*clock)`.
    """
    code = _without_comments(text)
    cameras = list(_CAMERA.finditer(code))
    if len(cameras) != 1:
        raise Refusal(
            f"a turntable needs one camera, and there are {len(cameras)}", remedy="move the camera by `clock`"
        )
    location = _LOCATION.search(code, cameras[0].end(), _closing(code, cameras[0].end()))
    if not location:
        raise Refusal("the camera has no plain `location <x, y, z>`", remedy="move the camera by `clock`")
    lo, hi = location.span(1)
    return f"{text[:lo]}vrotate({text[lo:hi]}, y*360*clock){text[hi:]}"


def _unpacked(path: Path) -> bytes:
    """No more than a scene may have, however small it was packed."""
    with gzip.open(io.BytesIO(_bytes(path))) as packed:
        data = packed.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _too_large(path)
    return data


def _too_large(path: Path) -> Refusal:
    return Refusal("this file is too large for a scene", str(path), "keep scenes below 256 MiB of text")


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _too_large(path)
        return path.read_bytes()
    except IsADirectoryError as error:
        raise Refusal("this is a folder", str(path), "name the scene file in it") from error
    except OSError as error:
        raise Refusal(f"the file can't be read: {error.strerror}", str(path), "check the path") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # any quoted text comes by here, most of it never meant as a name
        return False


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_relative_to(folder):
        where = "of the scene's folder, where executors can't see it"
        raise Refusal(f"the scene reads {name}, outside {where}", str(folder), "copy it beside the scene")
    return path


def _names(text: str) -> Iterator[str]:
    """Quoted texts outside comments that could be relative names."""
    for match in _WORDS.finditer(text):
        name = match[0][1:-1]
        if match[0][0] == match[0][-1] == '"' and name and not name.startswith("/") and len(name) <= 200:
            yield name


def _without_comments(text: str) -> str:
    """The same length, with comments and quoted texts blank."""
    return _WORDS.sub(lambda match: " " * len(match[0]), text)


def _closing(code: str, start: int) -> int:
    """Where the brace that was opened just before `start` is closed."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(code, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    return len(code)
