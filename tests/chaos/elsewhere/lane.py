"""Runs one after the other; what is costly to start stays up over several runs of its kind."""

import random
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tests.chaos.elsewhere.run import Outcome, engine_of, folder_for

KINDS = ("local", "simulated", "static", "ec2", "kubernetes", "vmclone")
FRESH = 10  # runs on one ground
MODULES = {  # what stays up, and one run there
    "local": ("beside", "nothing", "local"),
    "simulated": ("simulated", "nothing", "simulated"),
    "static": ("bench", "bench", "static"),
    "ec2": ("bench", "cloud", "ec2"),
    "kubernetes": ("pods", "pods", "kubernetes"),
    "vmclone": ("beside", "nothing", "vmclone"),
}


def kind_of(seed: int) -> str:
    return KINDS[seed % len(KINDS)]


def fresh(count: int, kind: str | None) -> list[int]:
    """Seeds nobody has seen; the kinds take turns, and each of them its engines."""
    made = []
    for n in range(count):
        which = KINDS.index(kind) if kind else n % len(KINDS)
        turn = n if kind else n // len(KINDS)
        made.append((4 * secrets.randbelow(10**6) + turn % 4) * len(KINDS) + which)
    return sorted(made, key=kind_of)


class Lane:
    """`with Lane() as lane: lane.run(seed)`; seeds of one kind after each other share their ground."""

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep
        self._kind, self._runs = "", 0
        self._world: Any = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._held.close()

    def run(self, seed: int) -> Outcome:
        kind = kind_of(seed)
        outcome = Outcome(seed, kind, engine_of(seed))
        module, ground, run = MODULES[kind]
        there = import_module(f"tests.chaos.elsewhere.{module}")
        self._stand_on(kind, getattr(there, ground))
        with folder_for(outcome, self._keep) as folder:
            one: Callable[[Any, Path, random.Random, Outcome], None] = getattr(there, run)
            try:
                one(self._world, folder, random.Random(seed), outcome)
            except (AssertionError, OSError) as error:
                outcome.findings.append(f"{type(error).__name__}: {error}")
        if outcome.findings:
            self._held.close()
            self._kind = ""
        return outcome

    def _stand_on(self, kind: str, ground: Callable[[], AbstractContextManager[Any]]) -> None:
        if kind != self._kind or self._runs >= FRESH:
            self._held.close()
            self._world = self._held.enter_context(ground())
            self._kind, self._runs = kind, 0
        self._runs += 1
