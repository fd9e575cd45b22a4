"""Archives from outside: an sdist is unpacked, a wheel is read."""

import os
import tempfile
from pathlib import Path

from farm.refusal import Refusal
from farm.workloads.packages.fetch import unpack
from farm.workloads.packages.index import project_of

TOKENS = [
    "PK\x03\x04",
    "PK\x05\x06" + "\0" * 18,
    "PK\x01\x02",
    "\x1f\x8b\x08\0\0\0\0\0",
    "ustar\x0000",
    "\0" * 512,
    "../x",
    "BZh9",
    "\xfd7zXZ",
]


def target(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "inside")
        home.mkdir()
        (home / "archive").write_bytes(data)
        try:
            unpack(home / "archive", home / "tree")
        except Refusal:
            assert not os.path.lexists(home / "tree")
        assert os.listdir(folder) == ["inside"]
    try:
        assert project_of("a-1-py3-none-any.whl", data) == "a"
    except Refusal:
        pass
