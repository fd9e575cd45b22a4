"""Opening hours as people see them: the week, what holds at a moment, and what would be decided then."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from farm.config import FarmConfig
from farm.observe import observe
from farm.read import when
from farm.refusal import Refusal
from schedules.gaps import Gaps
from schedules.model import Action, Decision, Launch, Pool, Snapshot, Window
from schedules.policy import default
from schedules.shift import shifted
from schedules.windows import OpenHours, Segment, aimed, closed_lanes, hours, is_open, lane_opens, midnight, week

EARLIEST, LATEST = date(1900, 1, 1), date(9900, 1, 1)  # weeks that can be drawn; others are taken for these
KEYS = {"spare": "idle_target", "allowed": "pools_allowed", "lanes": "lanes_open"}  # as farm.toml calls them
AHEAD = timedelta(days=3660)  # for so long the present backlog may be planned with


def schedule(
    tx: Connection, config: FarmConfig, now: datetime, day: date | None = None, at: datetime | None = None
) -> dict[str, Any]:
    """The windows, what holds `at` (else now), and the week of `day` (else of that) on the clocks of the first window's
    zone."""
    at = at or now
    pools, windows = observe(tx, config, now).pools, config.windows()
    zone = config.schedules[0].zone if config.schedules else "UTC"
    day = min(LATEST, max(EARLIEST, day or at.astimezone(ZoneInfo(zone)).date()))
    monday = day - timedelta(days=day.weekday())
    start, end = midnight(zone, monday), midnight(zone, monday + timedelta(days=7))
    return {
        "windows": [w.model_dump(mode="json", exclude_none=True) for w in config.schedules],
        "at": when(at),
        "now": {p.name: opened(hours(p, windows, at)) for p in pools},
        "open": [w.name for w in windows if is_open(w, at)],
        "lanes": _lanes(config, windows, at),
        "zone": zone,
        "monday": monday.isoformat(),
        "week": {p.name: [_stretch(s, windows) for s in week(windows, p, start, end)] for p in pools},
    }


def plan(tx: Connection, config: FarmConfig, now: datetime, at: datetime, gaps: Gaps | None = None) -> dict[str, Any]:
    """What the policy would decide `at` with the backlog and the executors of now. Raises Refusal for what is past."""
    if at < now:
        raise Refusal("that is past", "--at", "name a time to come, such as 22:00 or +2h")
    if at - now > AHEAD:
        raise Refusal("that is more than ten years ahead", "--at", "name a time nearer, such as 22:00 or +2h")
    seen = shifted((gaps or Gaps()).known(observe(tx, config, now, at)), at)
    decision, windows = default(seen), config.windows()
    found = {p.name: aimed(hours(p, windows, at), p.name, seen.executors) for p in seen.pools}
    return {
        "at": when(at),
        "open": [w.name for w in windows if is_open(w, at)],
        "pools": {p.name: _placed(p, found[p.name], seen) for p in seen.pools},
        "lanes": _lanes(config, windows, at),
        "waiting": sum(w.count for d in seen.demand for w in d.waiting),
        "running": sum(len(d.running) for d in seen.demand),
        "actions": _actions(decision),
        "unmet": [{"job": u.who, "slots": u.slots, "why": u.why} for u in decision.unmet],
        "look_again": when(decision.look_again),
    }


def opened(found: OpenHours) -> dict[str, Any]:
    """What holds, and of each setting that is not the pool's own which window it comes from."""
    return {
        "floor": found.floor,
        "idle_target": found.spare,
        "ceiling": found.ceiling,
        "idle_s": found.idle.total_seconds() if found.idle is not None else None,
        "price_per_hour": str(found.price_per_hour),
        "window": found.window,
        "by": {KEYS.get(name, name): window for name, window in found.by.items()},
        "shadowed": list(found.shadowed),
        "shut": found.shut,
        "until": when(found.until),
    }


def _stretch(segment: Segment, windows: Sequence[Window]) -> dict[str, Any]:
    held = {key: value for key, value in opened(segment.hours).items() if key != "until"}
    named = segment.hours.of("lanes")
    lanes = next((sorted(w.lanes or ()) for w in windows if named and w.name == named), None)
    return {"start": when(segment.start), "end": when(segment.end), **held, "lanes_open": lanes}


def _lanes(config: FarmConfig, windows: Sequence[Window], at: datetime) -> dict[str, dict[str, Any]]:
    """Lane → whether it is open, and else by which window it is not and until when."""
    shut = closed_lanes(windows, config.all_lanes(), at)
    return {
        lane: {
            "open": lane not in shut,
            "window": shut.get(lane, ""),
            "opens": when(lane_opens(windows, lane, at)) if lane in shut else None,
        }
        for lane in config.all_lanes()
    }


def _placed(pool: Pool, found: OpenHours, seen: Snapshot) -> dict[str, Any]:
    mine = [e for e in seen.executors if e.pool == pool.name]
    held = {"closed": pool.closed_why or found.shut, "executors": len(mine), "slots": sum(e.slots for e in mine)}
    return {**opened(found), **held}


def _actions(decision: Decision) -> list[dict[str, Any]]:
    return [_action(action) for action in decision.actions]


def _action(action: Action) -> dict[str, Any]:
    kind = type(action).__name__.lower()
    if isinstance(action, Launch):
        about = {"pool": action.pool, "executors": action.count, "slots": action.slots, "job": action.who}
        return {"kind": kind, **about, "why": action.why}
    about = {name: getattr(action, name) for name in ("executor", "attempt") if hasattr(action, name)}
    return {"kind": kind, **about, "why": action.why}
