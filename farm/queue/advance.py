"""How far the tasks of an array were handed out."""

from collections.abc import Collection, Iterator

from sqlalchemy import bindparam, update

from farm import tables as t
from farm.queue import early
from farm.tables import AnyRow

ADVANCE = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))
    .where(t.Step.next == bindparam("was"), t.Step.early == bindparam("had"))
    .values(next=bindparam("now_next"), early=t.Step.early - bindparam("passed"))
)


class Advance:
    """How far an array was handed out, and is now; what was cancelled before its turn (`early`) is passed over."""

    NAMES = ("j", "o", "was", "had", "now_next", "passed")

    def __init__(self, step: AnyRow, early: Collection[int]) -> None:
        self._step, self._early = step, early
        self._next, self._passed = step.next, 0

    def take(self, n: int) -> Iterator[int]:
        """The positions of the next `n` tasks; there are as many."""
        if not self._early and self._step.order != "ends-first":
            self._next += n
            yield from range(self._next - n, self._next)
            return
        while n:
            position = early.position(self._step, self._next)
            self._next += 1
            if position in self._early:
                self._passed += 1
            else:
                n -= 1
                yield position

    def row(self) -> dict[str, int]:
        was = {"j": self._step.job, "o": self._step.ordinal, "was": self._step.next, "had": self._step.early}
        return was | {"now_next": self._next, "passed": self._passed}
