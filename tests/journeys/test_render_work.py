"""The steps of a render, carried out by hand with the real POV-Ray and ffmpeg, as an executor would."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from farm.model import File
from farm.refusal import Refusal
from farm.workloads.render.pictures import pixels
from farm.workloads.render.povray import plan_render

SCENE = """#include "ball.inc"
camera { location <0, 1, -4> look_at 0 }
light_source { <5, 5, -5> rgb 1 }
object { Ball translate clock*y }
box { <-2, -1, -1>, <-1, 0, 0> pigment { rgb <0, 1, clock> } }
"""
BALL = "#declare Ball = sphere { 0, 1 pigment { rgb <1, clock, 0> } }\n"


class Folder:
    """A content-addressed folder, and the running of tasks from nothing but it."""

    def __init__(self, path: Path):
        self.path = path
        (path / "store").mkdir(parents=True)

    def put(self, path):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "store" / digest).write_bytes(data)
        return File(path=path.name, digest=digest, size=len(data))

    def run(self, step, name, tokens=None, gathered=()):
        place = self.path / name
        for file in step.inputs:
            (place / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.path / "store" / file.digest, place / file.path)
        for path in gathered:
            (place / step.gather).mkdir(exist_ok=True)
            shutil.copy(path, place / step.gather)
        argv = [step_text(text, {"python": sys.executable, **(tokens or {})}) for text in step.argv]
        done = subprocess.run(argv, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        found = sorted(path for pattern in step.outputs for path in place.glob(pattern))
        return done, found


def step_text(text, tokens):
    for name, value in tokens.items():
        text = text.replace("{" + name + "}", str(value))
    return text


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "ball.inc").write_text(BALL)
    path = tmp_path / "scenes" / "my scene.pov"
    path.write_text(SCENE)
    return path


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "work")


def frame(first, last=None, step=1):
    return {"first": first, "last": last or first, "step": step, "index": first, "frame": first}


def test_frames_rendered_apart_or_in_chunks_have_the_pixels_of_one_long_render(scene, folder):
    (step,) = plan_render(scene, "1-4", put=folder.put, size="48x27")
    (chunked,) = plan_render(scene, "1-4", put=folder.put, size="48x27", chunk=4)
    apart = [folder.run(step, f"apart-{n}", frame(n))[1] for n in (3, 1, 4, 2)]
    whole = folder.run(chunked, "whole", frame(1, 4))[1]
    assert [path.name for path in whole] == ["frame1.png", "frame2.png", "frame3.png", "frame4.png"]
    by_name = {path.name: pixels(path) for (path,) in apart}
    assert {path.name: pixels(path) for path in whole} == by_name
    assert len(set(by_name.values())) == 4
    assert size(whole[0]) == (48, 27)


def test_every_second_frame_of_a_film_is_that_frame_of_the_film(scene, folder):
    (full,) = plan_render(scene, "1-5", put=folder.put, size="32x18", chunk=5)
    (half,) = plan_render(scene, "1-3:2", put=folder.put, size="32x18", chunk=2, of="1-5")
    whole = {path.name: pixels(path) for path in folder.run(full, "full", frame(1, 5))[1]}
    some = {path.name: pixels(path) for path in folder.run(half, "half", frame(1, 3, 2))[1]}
    assert sorted(some) == ["frame1.png", "frame3.png"]
    assert some.items() <= whole.items()


def test_a_single_frame_is_numbered_like_any_other(scene, folder):
    (step,) = plan_render(scene, "7", put=folder.put, size="32x18")
    done, found = folder.run(step, "one", frame(7))
    assert [path.name for path in found] == ["frame7.png"], done.stderr


def test_an_error_in_the_scene_fails_the_task_and_its_log_says_where(scene, folder):
    scene.write_text(SCENE + "spere { 0, 1 }\n")
    (step,) = plan_render(scene, "1-2", put=folder.put, size="32x18")
    done, found = folder.run(step, "wrong", frame(1))
    assert done.returncode != 0
    assert not found
    assert "Parse Error" in done.stderr
    assert "line 6" in done.stderr


def test_film_and_contact_sheet_are_made_of_all_frames_and_are_the_same_again(scene, folder):
    *renders, film = plan_render(scene, "1-3,8", put=folder.put, size="47x27", film=True, rate=10, chunk=4)
    assert film.after == tuple(step.name for step in renders) == ("frames", "frames-2")
    frames = folder.run(renders[0], "a", frame(1, 3))[1] + folder.run(renders[1], "b", frame(8))[1]
    first, second = (folder.run(film, name, gathered=frames) for name in ("film", "film-again"))
    assert [path.name for path in first[1]] == ["contact.png", "film.mp4"], first[0].stderr
    assert [path.read_bytes() for path in first[1]] == [path.read_bytes() for path in second[1]]
    stream = probe(folder.path / "film" / "film.mp4")
    assert (stream["codec_name"], stream["pix_fmt"], stream["nb_frames"]) == ("h264", "yuv420p", "4")
    assert (stream["width"], stream["height"], stream["r_frame_rate"]) == (48, 28, "10/1")
    assert size(folder.path / "film" / "contact.png")[0] == 2 * 160 + 3 * 4


def test_a_film_of_nothing_says_so(scene, folder):
    *_, film = plan_render(scene, "1-3", put=folder.put, film=True)
    done, found = folder.run(film, "empty")
    assert (done.returncode, found) == (1, [])
    assert "no frames" in done.stderr


def test_the_turntable_begins_where_the_camera_stands_and_moves_on(scene, folder):
    (still,) = plan_render(scene, "1-4", put=folder.put, size="32x18")
    (turning,) = plan_render(scene, "1-4", put=folder.put, size="32x18", turn=True)
    begin, later = (pixels(folder.run(turning, f"turn-{n}", frame(n))[1][0]) for n in (1, 2))
    assert begin == pixels(folder.run(still, "still", frame(1))[1][0])
    assert later != pixels(folder.run(still, "still-2", frame(2))[1][0])


def test_a_step_carries_its_files_by_content_and_renders_the_ends_first(scene, folder):
    (step,) = plan_render(scene, "1-240:2", put=folder.put, includes=[scene])
    assert [file.path for file in step.inputs] == ["scene.pov", "ball.inc", "my scene.pov"]
    assert (step.order, step.array.first, step.array.last, step.array.step) == ("ends-first", 1, 239, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frames": "x"}, "no frame"),
        ({"frames": ",".join(str(n * n) for n in range(1, 90))}, "separate runs"),
        ({"size": "large"}, "no size"),
        ({"size": "0x10"}, "no size"),
        ({"size": "99999x1"}, "no size"),
        ({"options": ["rm"]}, "no option of POV-Ray"),
        ({"rate": 0, "film": True}, "no film"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_queued(scene, folder, wrong, said):
    with pytest.raises(Refusal, match=said):
        plan_render(scene, **{"frames": "1-4", "put": folder.put, **wrong})


def probe(path):
    argv = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", str(path)]
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["streams"][0]


def size(path):
    from PIL import Image

    return Image.open(path).size
