"""What git says of a tree: names, modes and contents."""

from farm.changes import safe_path
from farm.refusal import Refusal

TOKENS = [
    "a/b",
    "../",
    ".git/",
    ".GIT",
    "\\",
    "\0",
    "\n",
    "ü",
    " ",
    "/",
    ".",
    "0" * 40,
    " blob ",
    "5\n",
    "hello\n",
    " missing\n",
    "9" * 5000,
]


def target(data: bytes) -> None:
    try:
        path = safe_path(data)
    except Refusal:
        path = "a"
    assert not path.startswith("/")
    assert ".." not in path.split("/")
