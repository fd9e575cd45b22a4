"""`desk(KIND, folder)`: a farm that is up, and what it needs of its kind's ground, for as long as the `with` lasts."""

from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.machines.desks.desk import Desk

KINDS = ("local", "static", "ec2", "kubernetes", "vmclone")


def desk(kind: str, folder: Path, **options: Any) -> AbstractContextManager[Desk]:
    """`options`, the same for all: `slots` of each executor, `ceiling` in slots, `lease` ("15s")."""
    assert kind in KINDS, f"no kind is called {kind}"
    made: AbstractContextManager[Desk] = import_module(f"tests.machines.desks.{kind}").desk(folder, **options)
    return made
