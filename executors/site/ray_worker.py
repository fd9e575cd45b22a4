"""Becomes a worker of Ray's: `python ray_worker.py default_worker.py OPTIONS`.

Ray's own setup_worker.py does this for runtime environments, through a shell that splits the path of Python at its
spaces, and after importing Ray once more than needed.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

FOR_SETUP = ("--serialized-runtime-env-context", "--language")


def become(words: Sequence[str]) -> NoReturn:
    kept = [word for word in words if word.partition("=")[0] not in FOR_SETUP]
    os.execv(sys.executable, [sys.executable, *kept])


if __name__ == "__main__":
    become(sys.argv[1:])
