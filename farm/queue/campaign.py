"""Tasks of a step that need each other: what each takes with all that comes after it, and which half a slot is for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from farm import tables as t
from farm.model import StepSpec
from farm.queue import predict
from farm.queue.waiting import Candidate, Queue, shortest
from schedules.ordering import Half, along_path, half, paths

_LEADS = (
    select(t.Task.lead, func.count().label("n"))
    .where(text("state = 'running' AND lead IS NOT NULL"))
    .where(t.Task.job == bindparam("j"), t.Task.step == bindparam("o"))
    .group_by(t.Task.lead)
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds of each item, and of the longest chain from it on; no chains where nothing needs anything."""

    seconds: Mapping[str, float]
    paths: Mapping[str, float]

    @property
    def mean(self) -> float:
        return sum(self.seconds.values()) / len(self.seconds)

    def row(self, name: str, due: datetime) -> dict[str, Any]:
        """Columns of its task in a step that is due then."""
        path = self.paths.get(name)
        return {"predicted_s": self.seconds[name], "path_s": path, "due": along_path(due, path)}


def plan(tx: Connection, kind: str, job: str, step: StepSpec) -> Plan:
    """An item that never ran takes what its step says, or the prior. The dependencies are known to form no cycle."""
    names = {item.name: predict.what(kind, job, step.name, item.name) for item in step.items}
    known = predict.several(tx, names.values())
    other = predict.sane(step.predicted_s or predict.PRIOR_S)
    seconds = {item: known.get(name, other) for item, name in names.items()}
    after = {item.name: item.after for item in step.items if item.after}
    return Plan(seconds, paths(seconds, after) if after else {})


@dataclass(slots=True)
class Halves:
    """Of the campaigns a claim meets: half of the slots take the longest remaining path, half the shortest task."""

    tx: Connection
    now: datetime
    limit: int  # tasks looked at
    claims: bool = False  # as of Waiting
    _slots: dict[tuple[int, int], Counter[str]] = field(default_factory=dict)
    _short: dict[tuple[int, int], list[Candidate]] = field(default_factory=dict)
    _taken: set[tuple[int, int]] = field(default_factory=set)

    def order(self, queue: Queue) -> Iterator[Candidate]:
        """By due date; in the place of a task of a campaign the one that is next in it."""
        for candidate in queue:
            if candidate.number is None or candidate.row.path_s is None:
                yield candidate
            elif self._key(candidate) not in self._taken:
                yield self._next(candidate)

    def took(self, candidate: Candidate) -> Half | None:
        """The half that it was for; None if it is of no campaign."""
        if candidate.number is None or candidate.row.path_s is None:
            return None
        self._taken.add(self._key(candidate))
        held = self._held(candidate)
        lead = half(held["path"], held["short"])
        held[lead] += 1
        return lead

    def _next(self, first: Candidate) -> Candidate:
        """`first` has the longest path of those that wait."""
        held = self._held(first)
        if half(held["path"], held["short"]) == "path":
            return first
        step = first.row.job, first.row.ordinal
        if step not in self._short:
            self._short[step] = shortest(self.tx, *step, self.now, self.limit, self.claims)
        left = (one for one in self._short[step] if self._key(one) not in self._taken)
        return next(left, first)

    def _held(self, candidate: Candidate) -> Counter[str]:
        step = candidate.row.job, candidate.row.ordinal
        if step not in self._slots:
            rows = self.tx.execute(_LEADS, {"j": step[0], "o": step[1]})
            self._slots[step] = Counter({row.lead: row.n for row in rows})
        return self._slots[step]

    @staticmethod
    def _key(candidate: Candidate) -> tuple[int, int]:
        return candidate.row.job, candidate.number or 0
