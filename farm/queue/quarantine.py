"""An executor on which tasks of two different jobs really failed, one after the other without a success between.

A step that really failed on another executor too is bad itself: its failures say nothing of a machine.
It gets no more work, goes when what runs on it has ended, and is replaced like any that drains. Three of a pool within
an hour at most: then the tasks are more likely to be bad than the machines, and the pool's executors are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from farm import tables as t
from farm.model import AttemptState, ExecutorState
from farm.queue import endings
from farm.queue.progress import Changed
from farm.queue.settle import lose_some
from farm.queue.successes import Outcome
from farm.reference import Reference

MOST = 3  # executors of a pool in `WITHIN`
WITHIN = timedelta(hours=1)

_SUSPECT = select(t.Executor.id, t.Executor.pool, t.Executor.suspect).where(
    t.Executor.id.in_(bindparam("ids", expanding=True)), t.Executor.quarantined.is_(None)
)
_SUSPECTED = update(t.Executor).where(t.Executor.id == bindparam("e")).values(suspect=bindparam("s"))
_RECENT = select(func.count()).where(t.Quarantine.pool == bindparam("p"), t.Quarantine.at > bindparam("since"))
_QUARANTINE = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.quarantined.is_(None))
    .where(t.Executor.state.in_([ExecutorState.READY, ExecutorState.DRAINING]))
    .values(quarantined=bindparam("at"), state=ExecutorState.DRAINING, why=bindparam("w"))
    .values(draining=func.coalesce(t.Executor.draining, bindparam("at")))
)
_INSERT = insert(t.Quarantine)
_FAILED_ELSEWHERE = (
    select(t.Attempt.number)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.step == bindparam("s"), t.Attempt.executor != bindparam("e"))
    .where(t.Attempt.state == AttemptState.FAILED, t.Attempt.cause.not_in(["licence", "memory"]))
    .limit(1)
)
_NOT_BEGUN = select(t.Attempt.job, t.Attempt.number, t.Attempt.ordinal).where(
    t.Attempt.executor == bindparam("e"), t.Attempt.finished.is_(None), t.Attempt.state == AttemptState.CLAIMED
)


@dataclass(slots=True)
class Quarantined:
    """What moved, and the attempts that were handed to these executors and go back, to be ended there."""

    executors: list[str] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    changed: Changed = field(default_factory=Changed)


def look(tx: Connection, outcomes: Sequence[Outcome], now: datetime) -> Quarantined:
    """Weigh what these results say of their executors, in the order in which each reported them."""
    out = Quarantined()
    if not outcomes:
        return out
    known = {r.id: r for r in tx.execute(_SUSPECT, {"ids": sorted({o.executor for o in outcomes})})}
    by_executor = groupby(sorted(outcomes, key=lambda o: (o.executor, o.seq)), key=lambda o: o.executor)
    for executor, group in by_executor:
        row = known.get(executor)
        if row is not None:
            suspect, evidence = weigh(row.suspect, list(group))
            if evidence:
                guilty = [e for e in evidence if not _elsewhere(tx, e, executor)]
                suspect = suspect and next(reversed(guilty), None)
                evidence = evidence if len(guilty) == len(evidence) else []
            if suspect != row.suspect:
                tx.execute(_SUSPECTED, {"e": executor, "s": suspect})
            if evidence and recent(tx, row.pool, now) < MOST:
                _send_away(tx, row.id, row.pool, evidence, out, now)
    return out


def weigh(suspect: Any, outcomes: Sequence[Outcome]) -> tuple[Any, list[Any]]:
    """The last failure that no success followed, or None; the two that convict, or nothing."""
    evidence: list[Any] = []
    for one in outcomes:
        if one.good:
            suspect = None
            continue
        failure = {"job": one.job, "step": one.step, "attempt": one.attempt, "exit": one.exit, "cause": one.cause}
        if suspect is not None and suspect["job"] != one.job:
            evidence = [suspect, failure]
        suspect = failure
    return suspect, evidence


def recent(tx: Connection, pool: str, now: datetime) -> int:
    """How many executors of the pool were sent away within the last hour."""
    return int(tx.execute(_RECENT, {"p": pool, "since": now - WITHIN}).scalar_one())


def _elsewhere(tx: Connection, failure: Any, executor: str) -> bool:
    """Whether the step really failed on another executor too."""
    about = {"j": failure["job"], "s": failure["step"], "e": executor}
    return tx.execute(_FAILED_ELSEWHERE, about).first() is not None


def _send_away(tx: Connection, executor: str, pool: str, evidence: list[Any], out: Quarantined, now: datetime) -> None:
    first, last = (_said(e) for e in evidence)
    why = f"quarantined: {first} and {last} failed on it one after the other"
    if not tx.execute(_QUARANTINE, {"e": executor, "w": why, "at": now}).rowcount:
        return
    tx.execute(_INSERT, {"executor": executor, "pool": pool, "at": now, "evidence": evidence})
    refs = [Reference(r.job, r.number, r.ordinal) for r in tx.execute(_NOT_BEGUN, {"e": executor})]
    endings.not_begun(tx, executor, now)  # for all we know
    back = lose_some(tx, refs, f"executor {executor} is quarantined", now)
    out.executors.append(executor)
    out.attempts += map(str, refs)
    out.changed.join(back.changed)


def _said(failure: Any) -> str:
    return f"{failure['attempt']} ({failure['cause'] or 'exit ' + str(failure['exit'])})"
