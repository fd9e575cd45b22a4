"""Becomes a worker of Ray's: `python ray_worker.py default_worker.py OPTIONS`.

Ray's own setup_worker.py does this for runtime environments, through a shell that splits the path of Python at its
spaces, and after importing Ray once more than needed.
"""

import os
import runpy
import sys
from collections.abc import Sequence

FOR_SETUP = ("--serialized-runtime-env-context", "--language")


def become(words: Sequence[str]) -> None:
    """Run that program in this process, as Python would have been told to."""
    sys.path[0] = os.path.abspath(os.path.join(os.path.dirname(__file__), *2 * [os.pardir]))  # our own neighbours
    from executors.site.late import come_late

    come_late()
    sys.argv = [word for word in words if word.partition("=")[0] not in FOR_SETUP]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    become(sys.argv[1:])
