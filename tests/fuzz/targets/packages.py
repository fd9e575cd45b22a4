"""The files by which a package describes itself: pyproject.toml, PKG-INFO, setup.cfg. Split by lines of ===."""

from farm.changes import Entry
from farm.refusal import Refusal
from farm.workloads.packages.package import read_packages

NAMES = ("a/pyproject.toml", "a/PKG-INFO", "a/setup.cfg", "a/setup.py")
TOKENS = [
    "[project]\n",
    "[build-system]\n",
    "name = ",
    '"pkg"\n',
    '"../../x"\n',
    "5\n",
    "version = ",
    '"1.0"\n',
    '"' + "9" * 5000 + '"\n',
    "9" * 5000 + "\n",
    "dependencies = ",
    '["pip>=1"]\n',
    '["pip; extra == 1"]\n',
    "[5]\n",
    '"text"\n',
    "true\n",
    "dynamic = ",
    '["dependencies"]\n',
    "optional-dependencies = ",
    "{a = 5}\n",
    '{a = ["x"]}\n',
    "requires = ",
    "backend-path = ",
    "build-backend = ",
    "\n===\n",
    "Name: x\n",
    "Version: 1\n",
    "Requires-Dist: ",
    "pip>=1\n",
    "[metadata]\n",
    "name = x\n",
    "[options]\n",
    "install_requires = x\n",
    "[" * 3000,
    "%(x)s",
    "\r",
    "\x00",
    "ü",
]


class _Given:
    title = "given"

    def __init__(self, data: bytes) -> None:
        parts = data.split(b"\n===\n")
        self._files = dict(zip(NAMES, [*parts, b"", b"", b""], strict=False))

    def entries(self):
        return tuple(Entry(name, 0o100644, "0" * 40) for name in self._files)

    def contents(self, entries):
        return {entry.path: self._files[entry.path] for entry in entries}


def target(data: bytes) -> None:
    try:
        found = read_packages(_Given(data))
    except Refusal:
        return
    for name in found:
        assert name
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"), name
