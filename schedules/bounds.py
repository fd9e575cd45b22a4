"""What any policy may do, whoever wrote it: nothing above a ceiling, nothing from a pool that is closed, no executor
at work sent away. What goes beyond is left out and told."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from schedules.expansion import Source, sources
from schedules.idle import above_ceiling, leave
from schedules.model import Action, Decision, Drain, Executor, Launch, Retire, Snapshot, Unmet
from schedules.windows import hours
from schedules.words import plural

LONGEST_WHY = 500


class NoDecision(Exception):
    """A policy gave what is no decision at all."""


def bounded(seen: Snapshot, given: Any) -> Decision:
    """The decision as far as it may be carried out, and in `notes` what was left out. Raises NoDecision."""
    if not isinstance(given, Decision):
        raise NoDecision(f"it gave a {type(given).__name__}, not a Decision")
    bounds = Bounds.of(seen)
    must = enforced(seen)
    actions = [act for action in _listed(given.actions) if (act := bounds.allowed(action)) is not None]
    gone = {act.executor for act in must}
    mine = [act for act in actions if isinstance(act, Launch) or act.executor not in gone]
    unmet = tuple(_told(u) for u in _listed(given.unmet) if isinstance(u, Unmet))
    return Decision((*mine, *must), _later(given.look_again, seen.now), unmet, tuple(bounds.notes))


def enforced(seen: Snapshot) -> list[Retire | Drain]:
    """What has to happen whatever a policy says: pools that a person closed, and those above a ceiling."""
    return [
        act
        for pool in seen.pools
        for act in (
            leave(pool, seen.executors)
            if pool.closed
            else above_ceiling(pool, hours(pool, seen.schedule, seen.now), seen.executors)
        )
    ]


def _listed(given: Any) -> tuple[Any, ...]:
    if not isinstance(given, tuple | list):
        raise NoDecision(f"its actions are a {type(given).__name__}, not a tuple")
    return tuple(given)


def _told(given: Unmet) -> Unmet:
    """As people are told of it: what is no number or no word of ours is left out."""
    listed: Any = given.obstacles
    obstacles: Any = tuple(o for o in listed if isinstance(o, str)) if isinstance(listed, tuple | list) else ()
    return Unmet(_text(given.who), given.slots if _whole(given.slots) else 0, _text(given.why), obstacles)


def _later(moment: Any, now: datetime) -> datetime | None:
    """None where it is no moment to come."""
    return moment if isinstance(moment, datetime) and moment.tzinfo is not None and moment > now else None


@dataclass(slots=True)
class Bounds:
    """`room`: slots that a pool may still have; it shrinks with what is allowed."""

    pools: dict[str, Source]
    executors: dict[str, Executor]
    room: dict[str, int]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, seen: Snapshot) -> "Bounds":
        open_hours = {pool.name: hours(pool, seen.schedule, seen.now) for pool in seen.pools}
        found = {s.pool.name: s for s in sources(seen.pools, open_hours, seen.executors, seen.now)}
        return cls(found, {e.id: e for e in seen.executors}, {name: s.room for name, s in found.items()})

    def allowed(self, action: Any) -> Action | None:
        """The action as it may be, or None."""
        try:
            return self._launch(action) if isinstance(action, Launch) else self._leave(action)
        except _Denied as denied:
            self.notes.append(str(denied))
            return None

    def _leave(self, action: Any) -> Action:
        if not isinstance(action, Retire | Drain):
            raise _Denied(f"a {type(action).__name__} is no action")
        there = self.executors.pop(action.executor, None) if isinstance(action.executor, str) else None
        if there is None:
            raise _Denied(f"there is no executor {str(action.executor)[:40]!r} to send away, or not any more")
        if isinstance(action, Retire) and there.busy_slots:
            raise _Denied(f"executor {there.id} is at work and is not sent away")
        return replace(action, why=_text(action.why))

    def _launch(self, asked: Launch) -> Launch:
        source = self.pools.get(asked.pool) if isinstance(asked.pool, str) else None
        if source is None:
            raise _Denied(f"there is no pool {str(asked.pool)[:40]!r}")
        if not (_whole(asked.count) and _whole(asked.slots)):
            raise _Denied(f"{str(asked.count)[:20]} executors of {str(asked.slots)[:20]} slots can't be ordered")
        if why := replace(source, room=self.room[asked.pool]).refuses(asked.slots):
            raise _Denied(f"{plural(asked.count, 'executor')} not ordered: {why}")
        count = min(asked.count, self.room[asked.pool] // asked.slots)
        if not count:
            raise _Denied(f"{plural(asked.count, 'executor')} not ordered: pool {asked.pool} has no room for its slots")
        if count < asked.count:
            self.notes.append(f"{asked.count:,} executors asked of pool {asked.pool}, {count:,} ordered: its ceiling")
        self.room[asked.pool] -= count * asked.slots
        return replace(asked, count=count, why=_text(asked.why), who=_text(asked.who))


class _Denied(Exception):
    """Why an action is left out."""


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def _text(given: Any) -> str:
    return str(given)[:LONGEST_WHY]
