"""What a person holds: who, since when and why."""

from datetime import datetime
from typing import Any

from farm import read
from farm.queue import holds, start_after
from farm.queue.holds import Held
from farm.tables import AnyRow
from farm.why.answer import Why, at, many
from farm.why.cause import Cause
from farm.why.look import Look


def held_job(look: Look, about: str, state: str, row: AnyRow) -> Why:
    """Of a held job, or of one of its tasks that waits."""
    held = holds.of_job(look.tx, row.id)
    if later := start_after.until(look.tx, row.id):
        return _later(about, state, row, later)
    runs = "runs" if row.running == 1 else "run"
    rest = f"; {many(row.running, 'task')} still {runs}, to the end" if row.running else ""
    waits = "" if about.startswith("job ") else f"T{about[1:]} waits: "
    subject = "job" if waits else "Job"
    sentence = f"{waits}{subject} {row.id} is {_told(held) if held else 'held'}; nothing more of it starts{rest}."
    rule = "a held job hands nothing out; what runs goes on to its end"
    return Why(about, state, Cause.HELD, rule, sentence, f"farm release {row.id}", _numbers(held))


def _later(about: str, state: str, row: AnyRow, later: datetime) -> Why:
    """Of a job that said when it begins."""
    mine = "" if about.startswith("job ") else f" of job {row.id}"
    sentence = f"{about[0].upper()}{about[1:]} waits for the time{mine}: it begins after {at(later)}."
    rule = "--start-after: nothing of it is handed out before"
    numbers = {"start_after": read.when(later), "starts": [read.when(later), None]}
    following = f"{at(later)} comes; or farm release {row.id}"
    return Why(about, state, Cause.START_AFTER, rule, sentence, following, numbers)


def held_lane(look: Look, about: str, state: str, lane: str) -> Why | None:
    """Of a job or task that waits in a held lane."""
    held = holds.held(look.tx).get(("lane", lane))
    if held is None:
        return None
    subject = about[0].upper() + about[1:]
    sentence = f"{subject} waits: its lane {lane} is {_told(held)}."
    rule = "of a held lane nothing is handed out; what runs goes on to its end"
    return Why(about, state, Cause.LANE_HELD, rule, sentence, f"farm release lane:{lane}", _numbers(held))


def closed_pool(look: Look, name: str, cause: Cause, numbers: dict[str, Any]) -> Why:
    """Of a pool that orders nothing since a person said so."""
    key = ("pool", name) if cause == Cause.POOL_HELD else ("spending", "")
    held = holds.held(look.tx)[key]
    has = f"Pool {name} has {many(numbers['executors'], 'executor')}"
    goes = "; they go when their work ends" if numbers["executors"] else ""
    if cause == Cause.POOL_HELD:
        sentence = f"{has} and orders none: it is {_told(held)}{goes}."
        rule, end = "a held pool orders nothing and keeps nobody", f"farm release pool:{name}"
    else:
        sentence = f"{has} and orders none: spending is {_told(held)}{goes}."
        rule, end = "while spending is stopped, pools that cost money order nothing", "farm resume-spending"
    return Why(f"pool {name}", "held", cause, rule, sentence, end, numbers | _numbers(held))


def _told(held: Held) -> str:
    """`held by ada since 12:00:05 UTC on Jan 05: the scene is wrong`."""
    verb, why = "stopped" if held.kind == "spending" else "held", f": {held.why}" if held.why else ""
    return f"{verb} by {held.who} since {at(held.at)}{why}"


def _numbers(held: Held | None) -> dict[str, Any]:
    return {"who": held.who, "why": held.why, "since": read.when(held.at)} if held else {}
