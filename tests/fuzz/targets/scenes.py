"""Scenes of POV-Ray, plain and compressed."""

import tempfile
from pathlib import Path

from farm.refusal import Refusal
from farm.workloads.render.scene import files_read, read_scene, turntable

TOKENS = [
    "camera {",
    "camera",
    "location",
    "<1,2,3>",
    "<",
    "}",
    "{",
    '"',
    '\\"',
    "\\",
    "/*",
    "*/",
    "//",
    "\n",
    '#include "a.inc"',
    '"../a.inc"',
    '"/etc/passwd"',
    '"link"',
    "x" * 300,
    "\0",
    "\x1f\x8b\x08\0\0\0\0\0\0\3",
]


def target(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.inc").write_bytes(data)
        Path(folder, "link").symlink_to("/etc")
        for name in ("s.pov", "s.pov.gz"):
            _scene(Path(folder, name), data)


def _scene(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        text = read_scene(path)
        for name, file in files_read(path, text).items():
            assert file.resolve().is_relative_to(path.parent.resolve()), name
        assert len(turntable(text)) == len(text) + len("vrotate(, y*360*clock)")
    except Refusal:
        pass
