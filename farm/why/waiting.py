"""What keeps work that could run from a slot."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy import text as sql

from farm import expected, read
from farm import tables as t
from farm.fleet import pool_fact
from farm.model import TaskState
from farm.tables import AnyRow
from farm.why.answer import Why, at, change, many
from farm.why.blocked import blocked_host
from farm.why.cause import Cause
from farm.why.holding import held_lane
from farm.why.licence import lacks_licence
from farm.why.look import Look
from farm.why.needs import coming, lacks_amount
from farm.why.opening import closed_lane
from farm.why.pool import breaking
from farm.why.rooms import kept_room
from farm.why.share import others_first
from farm.why.start import told
from schedules.model import Unmet
from schedules.windows import hours, lane_opens

_AHEAD = select(func.coalesce(func.sum(t.Step.total - t.Step.next - t.Step.early), 0)).where(
    sql(t.STEP_WAITS), t.Step.due < bindparam("d"), t.Step.next + t.Step.early < t.Step.total
)
_PAUSED = (
    select(func.min(t.Task.not_before).label("until"), func.min(t.Task.licence_since).label("since"))
    .add_columns(func.count().label("tasks"), func.sum(t.Task.licences).label("times"))
    .where(t.Task.job == bindparam("j"), sql(t.TASK_OPEN), t.Task.state == TaskState.READY)
    .where(t.Task.not_before > bindparam("now", type_=t.Utc()))
)
_PAUSED_ONE = _PAUSED.where(t.Task.number == bindparam("n"))
_FREE = (
    select(func.count())
    .where(t.Task.job == bindparam("j"), sql(t.TASK_OPEN), t.Task.state == TaskState.READY)
    .where(and_(t.Task.not_before.is_(None) | (t.Task.not_before <= bindparam("now", type_=t.Utc()))))
)


def waiting(look: Look, about: str, state: str, step: AnyRow, number: int | None = None) -> Why:
    """Of a job (its first step that is ready), or of its task `number`."""
    subject = about[0].upper() + about[1:]
    if not look.running:
        sentence = f"{subject} waits because no farm is running."
        return Why(about, state, Cause.DOWN, "only a running farm starts work", sentence, "farm up")
    if look.closing:
        sentence = f"{subject} waits because the farm goes down: nothing new starts."
        return Why(about, state, Cause.CLOSING, "a farm that drains hands nothing out", sentence, "farm up")
    if held := held_lane(look, about, state, step.lane):
        return held
    if shut := closed_lane(look, about, state, step.lane):
        return told(look, step, shut, _opens(look, step.lane))
    pause = _pause(look, step, number)
    if pause is None:
        if lack := lacks_licence(look, about, state, step):
            return lack
        if lack := lacks_amount(look, about, state, step):
            return lack
        why = _slot(look, about, state, subject, step, number)
        return why if why.cause in (Cause.NO_POOL, Cause.TOO_LARGE, Cause.RESERVE) else told(look, step, why)
    return (_licence if pause.since else _no_room)(about, state, subject, pause)


def _pause(look: Look, step: AnyRow, number: int | None) -> AnyRow | None:
    key: dict[str, Any] = {"j": step.job, "now": look.now}
    if number is None and (step.next + step.early < step.total or look.tx.execute(_FREE, key).scalar_one()):
        return None
    query = _PAUSED if number is None else _PAUSED_ONE
    row = look.tx.execute(query, key if number is None else key | {"n": number}).one()
    return row if row.tasks else None


def _licence(about: str, state: str, subject: str, pause: AnyRow) -> Why:
    until: datetime = pause.until
    sentence = f"{subject} waits for a licence: there was none, {many(pause.times, 'time')}."
    rule = "the exit that --licence-exit names is no failure; it is tried again after a pause"
    numbers = {
        "tasks": pause.tasks,
        "times": int(pause.times),
        "since": read.when(pause.since),
        "until": read.when(until),
    }
    return Why(about, state, Cause.LICENCE, rule, sentence, f"it is tried again at {at(until)}", numbers)


def _no_room(about: str, state: str, subject: str, pause: AnyRow) -> Why:
    until: datetime = pause.until
    sentence = f"{subject} pauses: its executor's disk was full."
    rule = "a full disk is no failure of the task; it is tried again after a pause, free 5 times"
    numbers = {"tasks": pause.tasks, "until": read.when(until)}
    return Why(about, state, Cause.PAUSED, rule, sentence, f"it is tried again at {at(until)}", numbers)


def _slot(look: Look, about: str, state: str, subject: str, step: AnyRow, number: int | None) -> Why:
    numbers = _supply(look, step) | expected.numbers(look.tx, step.job, step.name, number)
    unmet = [u for u in look.decision.unmet if u.who == str(step.job)]
    never = [u for u in unmet if not u.obstacles or set(u.obstacles) == {"size"}]
    if never:
        return _unmet(look, about, state, subject, never[0], numbers)
    if room := kept_room(look, about, state, step, numbers):
        return room
    if not numbers["booting"] and (blocked := blocked_host(look, about, state, step, numbers)):
        return blocked
    if unmet and (not numbers["booting"] or _all_barred(look, step, unmet)):
        return _unmet(look, about, state, subject, unmet[0], numbers)
    if numbers["booting"]:
        one = numbers["booting"] == 1
        sentence = f"{subject} waits for an executor: {numbers['booting']} {'is' if one else 'are'} on the way."
        rule = "executors are ordered for what finds no slot in time"
        return Why(about, state, Cause.BOOTING, rule, sentence, "an executor joins", numbers)
    if others := others_first(look, about, state, step, numbers):
        return others
    sentence = f"{subject} waits for a free slot; {many(numbers['ahead'], 'task')} are due before it."
    rule = "lanes and owners by fair share, then earliest due first"
    return Why(about, state, Cause.QUEUE, rule, sentence, "a slot becomes free", numbers)


def _all_barred(look: Look, step: AnyRow, unmet: Sequence[Unmet]) -> bool:
    """Whether what is on its way is for others alone: nothing of the job may begin beside what its lane has,
    or is paid for."""
    barred = sum(u.slots for u in unmet if u.obstacles in (("reserve",), ("budget",)))
    waits = (w for d in look.seen.demand for w in d.waiting if w.who == str(step.job))
    return barred > 0 and barred >= sum(w.count * w.slots for w in waits)


def _unmet(look: Look, about: str, state: str, subject: str, unmet: Unmet, numbers: dict[str, Any]) -> Why:
    causes = _obstacles(unmet.obstacles, _broken(look))
    cause, following = causes[0], "; or ".join(_remedy(look, one) for one in causes)
    return Why(about, state, cause, unmet.why, f"{subject} waits: {unmet.why}.", following, numbers)


_IN_THE_WAY = {
    "budget": Cause.BUDGET,
    "reserve": Cause.RESERVE,
    "ceiling": Cause.CEILING,
    "held": Cause.POOL_HELD,
    "spending": Cause.SPENDING,
    "schedule": Cause.SCHEDULE,
    "breaker": Cause.BREAKER,
}
"""The one that goes away by work first; then what a person can remove at once; what is tried again anyway last."""


def _broken(look: Look) -> str:
    """What the provider said whose pool is asked again first."""
    shut = [p for p in look.seen.pools if p.breaker_open_until and p.breaker_open_until > look.now]
    first = min(shut, key=lambda p: (p.breaker_open_until, p.name), default=None)
    return pool_fact(look.tx, first.name).error if first else ""


def _obstacles(found: Sequence[str], error: str) -> list[Cause]:
    """Each of them, for the removal of one may be enough. That a pool is too small counts where nothing else does."""
    named = [
        breaking(error) if cause == Cause.BREAKER else cause for word, cause in _IN_THE_WAY.items() if word in found
    ]
    return named or [Cause.TOO_LARGE if found else Cause.NO_POOL]


def _remedy(look: Look, cause: Cause) -> str:
    shut = [p.breaker_open_until for p in look.seen.pools if p.breaker_open_until and p.breaker_open_until > look.now]
    again = f"a pool is asked again at {at(min(shut))}" if shut else "a pool is asked again"
    return {
        Cause.TOO_LARGE: "a pool with larger executors in farm.toml (max_slots)",
        Cause.NO_POOL: "a pool in farm.toml",
        Cause.BUDGET: "its next period begins, or [budgets] in farm.toml allows more",
        Cause.RESERVE: "work of its lane ends",
        Cause.CEILING: "a slot becomes free, or a window opens",
        Cause.BREAKER: again,
        Cause.SOLD_OUT: again,
        Cause.QUOTA: f"{again}; or a higher quota",
        Cause.POOL_HELD: "farm release pool:" + next((p.name for p in look.seen.pools if p.closed == "held"), ""),
        Cause.SPENDING: "farm resume-spending",
        Cause.SCHEDULE: change(_edge(look), look.now),
    }[cause]


def _opens(look: Look, lane: str) -> datetime:
    return lane_opens(look.config.windows(), lane, look.now) or look.now


def _edge(look: Look) -> datetime | None:
    found = (hours(pool, look.seen.schedule, look.now).until for pool in look.seen.pools)
    return min((until for until in found if until), default=None)


def _supply(look: Look, step: AnyRow) -> dict[str, Any]:
    ready = [e for e in look.seen.executors if e.state == "ready"]
    return {
        "needs_slots": step.slots,
        "slots": sum(e.slots for e in ready),
        "busy": sum(e.busy_slots for e in ready),
        "booting": coming(look, step),
        "ahead": int(look.tx.execute(_AHEAD, {"d": step.due}).scalar_one()),
        "due": read.when(step.due),
    }
