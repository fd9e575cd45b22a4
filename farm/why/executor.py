"""Why an executor is there, until when, and why it went."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select

from farm import read
from farm import tables as t
from farm.model import ExecutorState, OrderState
from farm.refusal import NotFound
from farm.tables import AnyRow
from farm.why.answer import Why, at, change
from farm.why.cause import Cause
from farm.why.look import Look
from farm.why.rooms import words
from schedules.demand import rows
from schedules.idle import leaves_at, levels, patience, spare, useful
from schedules.kinds import wanted
from schedules.model import Executor, Pool
from schedules.windows import OpenHours, aimed, hours
from schedules.words import keeps, length

_EXECUTOR = select(t.Executor).where(t.Executor.id == bindparam("e"))
_ORDER = select(t.Order).where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
_RUNS = (
    select(t.Attempt.job, t.Attempt.number, t.Attempt.ordinal)
    .where(t.Attempt.executor == bindparam("e"), t.Attempt.finished.is_(None))
    .order_by(t.Attempt.claimed, t.Attempt.job, t.Attempt.number)
)
_EVIDENCE = select(t.Quarantine.evidence).where(t.Quarantine.executor == bindparam("e"))
_NAMED = 10  # attempts in one answer


def executor(look: Look, name: str) -> Why:
    """Raises NotFound."""
    row = look.tx.execute(_EXECUTOR, {"e": name}).one_or_none()
    if row is None:
        return _ordered(look, name)
    numbers = _numbers(look, row)
    if row.quarantined is not None:
        return _quarantined(look, row, numbers)
    if row.state in (ExecutorState.GONE, ExecutorState.LOST):
        cause = Cause.GONE if row.state == ExecutorState.GONE else Cause.VANISHED
        word = "is gone" if row.state == ExecutorState.GONE else "was lost"
        sentence = f"Executor {name} of pool {row.pool} {word} since {at(row.ended)}: {row.why}."
        return Why(f"executor {name}", row.state, cause, row.why, sentence, numbers=numbers)
    if row.state == ExecutorState.DRAINING:
        sentence = f"Executor {name} of pool {row.pool} gets no more work: {row.why}."
        end = "its last attempt ends" if numbers["running"] else "it goes"
        return Why(f"executor {name}", row.state, Cause.DRAINING, row.why, sentence, end, numbers)
    if row.state == ExecutorState.BOOTING:
        sentence = f"Executor {name} of pool {row.pool} boots, ordered because {row.why}."
        return Why(f"executor {name}", row.state, Cause.BOOTING, row.why, sentence, "it joins", numbers)
    return _busy(look, row, numbers) if numbers["running"] else _idle(look, row, numbers)


def _ordered(look: Look, name: str) -> Why:
    order = look.tx.execute(_ORDER, {"k": name.rpartition("-")[0]}).one_or_none()
    if order is None:
        raise NotFound(f"there is no executor {name!r}", remedy="see `farm executors --all`")
    numbers = {"ordered": read.when(order.created), "asked_again": read.when(order.not_before), "error": order.error}
    said = f"; the provider said: {order.error}" if order.error else ""
    sentence = f"Executor {name} is ordered from pool {order.pool} because {order.why}{said}."
    return Why(f"executor {name}", "ordered", Cause.ORDERED, order.why, sentence, "its provider starts it", numbers)


def _numbers(look: Look, row: AnyRow) -> dict[str, Any]:
    runs = [f"{r.job}.{r.number}.{r.ordinal}" for r in look.tx.execute(_RUNS, {"e": row.id})]
    since = {"ordered": read.when(row.ordered), "ready": read.when(row.ready), "ended": read.when(row.ended)}
    found = {"pool": row.pool, "slots": row.slots, "running": len(runs), "runs": runs[:_NAMED], **since}
    return found | ({"suspect": row.suspect["attempt"]} if row.suspect else {})


def _quarantined(look: Look, row: AnyRow, numbers: dict[str, Any]) -> Why:
    evidence = look.tx.execute(_EVIDENCE, {"e": row.id}).scalar_one_or_none() or []
    numbers |= {"quarantined": read.when(row.quarantined), "evidence": [e["attempt"] for e in evidence]}
    rule = "tasks of two different jobs failed on it one after the other, with no success between"
    going = row.state == ExecutorState.DRAINING
    word = "is quarantined and gets no more work" if going else "was quarantined and is gone"
    sentence = f"Executor {row.id} of pool {row.pool} {word}: {row.why.removeprefix('quarantined: ')}."
    following = ("its last attempt ends; others replace it" if numbers["running"] else "it goes") if going else ""
    return Why(f"executor {row.id}", row.state, Cause.QUARANTINED, rule, sentence, following, numbers)


def _busy(look: Look, row: AnyRow, numbers: dict[str, Any]) -> Why:
    ends = [b.predicted_finish for d in look.seen.demand for b in d.running if b.executor == row.id]
    last = max(ends, default=look.now)
    pool, mine, found = _placed(look, row)
    keep = patience(pool, found, _level(look, row.id)) if pool and found else None
    numbers |= {"predicted_finish": read.when(last), "idle_s": keep.total_seconds() if keep else None}
    more = ", …" if numbers["running"] > _NAMED else ""
    lives = f", then for {length(keep)} more unless it gets work" if keep else ""
    sentence = (
        f"Executor {row.id} of pool {row.pool} runs {', '.join(numbers['runs'])}{more}; "
        f"it lives until they end, by prediction at {at(last)}{lives}{words(mine) if mine else ''}. "
        f"It was ordered because {row.why}."
    )
    rule = "a busy executor is never ended by scaling"
    return Why(f"executor {row.id}", row.state, Cause.BUSY, rule, sentence, "its attempts end", numbers)


def _idle(look: Look, row: AnyRow, numbers: dict[str, Any]) -> Why:
    """Empty: what keeps it, or when it goes."""
    pool, mine, found = _placed(look, row)
    numbers |= {"idle_since": read.when(row.idle_since)}
    name, since = f"executor {row.id}", row.idle_since or look.now
    idle = f"Executor {row.id} of pool {row.pool} is idle since {at(since)}"
    if pool is None or mine is None or found is None:
        sentence = f"{idle}; its pool left farm.toml."
        return Why(name, row.state, Cause.IDLE, "idle executors go", sentence, "its idle time ends", numbers)
    leaves = leaves_at(mine, pool, found, _level(look, mine.id))
    numbers |= {
        "idle_s": _patience(look, mine, pool, found).total_seconds(),
        "leaves": read.when(leaves),
        "floor": found.floor,
    }
    return _kept(look, name, idle, (mine, pool, found), leaves, numbers)


def _kept(
    look: Look,
    name: str,
    idle: str,
    placed: tuple[Executor, Pool, OpenHours],
    leaves: datetime,
    numbers: dict[str, Any],
) -> Why:
    mine, pool, found = placed
    there = look.seen.executors
    needed = useful(there, rows(look.seen)) | wanted(look.seen, there)
    if mine.id in needed:
        sentence = f"{idle}, kept for what waits."
        return Why(name, mine.state, Cause.KEPT, "what waiting work could use stays", sentence, "it gets work", numbers)
    if mine.id not in {e.id for e in spare(pool, found, there, needed)}:
        sentence = f"{idle}; {keeps(found, pool.name)}."
        rule = "an idle target is so many beside those that work" if found.targeted else "a floor is a total"
        edge = ", or ".join(filter(None, (change(found.until, look.now), "work comes")))
        return Why(name, mine.state, Cause.FLOOR, rule, sentence, edge, numbers)
    goes = f"it goes at {at(leaves)}"
    if leaves == mine.since + pool.min_bill and pool.min_bill:
        sentence = f"{idle}; it is paid for until {at(leaves)}."
        return Why(name, mine.state, Cause.PAID, "never inside a paid minimum", sentence, goes, numbers)
    keep = length(_patience(look, mine, pool, found))
    sentence = f"{idle}; it goes after {keep} of that, at {at(leaves)}, unless it gets work."
    return Why(name, mine.state, Cause.IDLE, "idle executors go", sentence, goes, numbers)


def _placed(look: Look, row: AnyRow) -> tuple[Pool | None, Executor | None, OpenHours | None]:
    """Its pool, what the policy sees of it, and what holds for the pool now."""
    pool = next((p for p in look.seen.pools if p.name == row.pool), None)
    mine = next((e for e in look.seen.executors if e.id == row.id), None)
    if pool is None:
        return pool, mine, None
    return pool, mine, aimed(hours(pool, look.seen.schedule, look.now), pool.name, look.seen.executors)


def _patience(look: Look, mine: Executor, pool: Pool, found: OpenHours) -> timedelta:
    return patience(pool, found, _level(look, mine.id))


def _level(look: Look, executor: str) -> int:
    """For how many executors there is work while this one has any."""
    there = look.seen.executors
    return levels(there).get(executor) or max(1, sum(e.busy_slots > 0 for e in there))
