"""What an executor is given in one claim. The tasks of an array differ by their numbers alone: they are packed as such,
and a work of each is made only for who asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import NamedTuple, overload

from executors.contract import Work
from executors.packed import Works
from farm.queue.template import Template


class Number(NamedTuple):
    """What an attempt of an array has for itself."""

    number: int
    position: int
    token: int


@dataclass(slots=True)
class Portion:
    """How much one claim may hand out: others wait while it is made. The next one goes on where it ends."""

    tasks: float = inf
    helpings: float = inf  # each for one executor and owner
    helped: int = 0
    cut: bool = False  # there may be more

    def more(self, tasks: int) -> bool:
        self.cut = tasks >= self.tasks or self.helped >= self.helpings
        return not self.cut


@dataclass(slots=True)
class _Alike:
    """First attempts of one template's tasks."""

    template: Template
    term: int
    numbers: list[Number] = field(default_factory=list)

    def works(self) -> list[Work]:
        return [self.template.work(n.number, n.position, 1, n.token, self.term) for n in self.numbers]

    def packed(self) -> Works:
        return Works.alike(self.template.shared(self.term), [self.template.own(*n) for n in self.numbers])


class Handed(Sequence[Work]):
    """In the order in which it was given."""

    def __init__(self) -> None:
        self._parts: list[_Alike | list[Work]] = []
        self._works: list[Work] | None = None

    def add(self, work: Work) -> None:
        self._works = None
        if not (self._parts and isinstance(self._parts[-1], list)):
            self._parts.append([])
        last = self._parts[-1]
        assert isinstance(last, list)
        last.append(work)

    def alike(self, template: Template, term: int, numbers: Sequence[Number]) -> None:
        """`template` is simple."""
        self._works = None
        last = self._parts[-1] if self._parts else None
        if not (isinstance(last, _Alike) and last.template is template):
            last = _Alike(template, term)
            self._parts.append(last)
        last.numbers += numbers

    def packed(self) -> list[Works]:
        """Those without secrets."""
        plain = (part.packed() if isinstance(part, _Alike) else _without_secrets(part) for part in self._parts)
        return [works for works in plain if works]

    def secret(self) -> list[Work]:
        """The others."""
        return [work for part in self._parts if isinstance(part, list) for work in part if work.secrets]

    def _made(self) -> list[Work]:
        if self._works is None:
            self._works = list(chain(*(part.works() if isinstance(part, _Alike) else part for part in self._parts)))
        return self._works

    @overload
    def __getitem__(self, index: int) -> Work: ...
    @overload
    def __getitem__(self, index: slice) -> list[Work]: ...
    def __getitem__(self, index: int | slice) -> Work | list[Work]:
        return self._made()[index]

    def __len__(self) -> int:
        return sum(len(part.numbers) if isinstance(part, _Alike) else len(part) for part in self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made() == list(other)

    __hash__ = None  # type: ignore[assignment]


def _without_secrets(works: Sequence[Work]) -> Works:
    return Works.of([work for work in works if not work.secrets])
