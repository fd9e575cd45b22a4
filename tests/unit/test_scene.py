import gzip

import pytest

from farm.refusal import Refusal
from farm.workloads.render.scene import files_read, read_scene, turntable

CAMERA = "camera { angle 40 /* location <9,9,9> } */ location <1, 2, -3> look_at <0,0,0> }\n"


def test_a_compressed_scene_is_read_like_a_plain_one(tmp_path):
    (tmp_path / "a.pov").write_text(CAMERA)
    (tmp_path / "b.pov.gz").write_bytes(gzip.compress(CAMERA.encode()))
    assert read_scene(tmp_path / "a.pov") == read_scene(tmp_path / "b.pov.gz") == CAMERA


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("scene.txt", b"camera{}", "no POV-Ray scene"),
        ("scene.pov", b"", "not the text of a scene"),
        ("scene.pov", b"\x89PNG\0\0", "not the text of a scene"),
        ("scene.pov.gz", b"camera{}", "not what gzip makes"),
    ],
)
def test_what_is_no_scene_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=said):
        read_scene(tmp_path / name)


def test_a_scene_that_is_not_there_or_a_folder_is_refused(tmp_path):
    (tmp_path / "folder.pov").mkdir()
    with pytest.raises(Refusal, match="this is a folder"):
        read_scene(tmp_path / "folder.pov")
    with pytest.raises(Refusal, match="No such file"):
        read_scene(tmp_path / "missing.pov")


def test_files_beside_the_scene_are_found_through_their_includes(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "parts.inc").write_text('#include "colors.inc"\nimage_map { png "wood.png" }')
    (tmp_path / "wood.png").write_bytes(b"\x89PNG")
    (tmp_path / "unused.inc").write_text("")
    text = '#include "sub/parts.inc" // "unused.inc"\n/* "unused.inc" */ #debug "a word"'
    assert sorted(files_read(tmp_path / "s.pov", text)) == ["sub/parts.inc", "wood.png"]


def test_a_file_outside_the_folder_is_refused(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    (tmp_path / "secret.inc").write_text("")
    (folder / "link.inc").symlink_to(tmp_path / "secret.inc")
    for name in ("../secret.inc", "link.inc"):
        with pytest.raises(Refusal, match="outside of the scene's folder"):
            files_read(folder / "s.pov", f'#include "{name}"')


def test_a_turntable_changes_the_location_of_the_camera_and_nothing_else():
    before = '// camera { location <0,0,0> }\n#declare a = "camera {";\n' + CAMERA + "light_source { <1,1,1> rgb 1 }\n"
    after = turntable(before)
    assert after == before.replace("<1, 2, -3>", "vrotate(<1, 2, -3>, y*360*clock)")


@pytest.mark.parametrize("text", ["sphere {0, 1}", CAMERA + CAMERA, "camera { look_at 0 } box { location <1,1,1> }"])
def test_a_scene_without_one_plain_camera_has_no_turntable(text):
    with pytest.raises(Refusal, match="camera"):
        turntable(text)
