"""What the windows of farm.toml keep from starting: lanes that are closed, pools that may order nothing."""

from datetime import datetime
from typing import Any

from farm import read
from farm.why.answer import Why, at, change, many
from farm.why.cause import Cause
from farm.why.look import Look
from schedules.windows import OpenHours, closed_lanes, lane_opens


def closed_lane(look: Look, about: str, state: str, lane: str) -> Why | None:
    """Of a job or task whose lane no window leaves open now."""
    windows = look.config.windows()
    window = closed_lanes(windows, (lane,), look.now).get(lane)
    if window is None:
        return None
    opens = lane_opens(windows, lane, look.now)
    open_ones = sorted(next(w.lanes or () for w in windows if w.name == window))
    sentence = (
        f"{about[0].upper()}{about[1:]} waits: window {window} closes its lane {lane}, "
        f"and leaves {', '.join(open_ones) or 'none'} open."
    )
    rule = "of a lane that is closed nothing is handed out; what runs goes on to its end"
    following = f"lane {lane} opens at {at(opens)}" if opens else "no window opens it within a year; edit farm.toml"
    numbers = {"window": window, "lane": lane, "lanes_open": open_ones, "opens": read.when(opens)}
    return Why(about, state, Cause.SCHEDULE, rule, sentence, following, numbers)


def shut_pool(name: str, found: OpenHours, numbers: dict[str, Any], now: datetime) -> Why:
    """Of a pool that may order nothing now."""
    goes = "; they go when their work ends" if numbers["executors"] else ""
    has = f"Pool {name} has {many(numbers['executors'], 'executor')}"
    sentence = f"{has} and orders none: {found.shut}{goes}."
    rule = "windows say which pools are asked and what an hour may cost; what runs goes on to its end"
    end = change(found.until, now)
    window = found.of("price_cap" if " pays " in found.shut else "allowed")
    return Why(f"pool {name}", "closed", Cause.SCHEDULE, rule, sentence, end, numbers | {"window": window})
