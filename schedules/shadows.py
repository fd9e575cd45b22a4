"""Windows that are in vain: later ones say all that they say whenever they are open, or they never are."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from schedules.model import Hours, Window
from schedules.windows import DAY, RULES, SETTINGS, edges, is_open, starts

_LOOKED = 1000  # dates of a window that are tried


def never_wins(windows: Sequence[Window]) -> tuple[str, ...]:
    """Names of windows without effect: they say nothing, never open, or later ones cover all they say whenever open.

    Only what is sure: a later window in another zone, or one with dates or holidays, is taken to leave a gap.
    """
    return tuple(window.name for place, window in enumerate(windows) if _covered(window, windows[place + 1 :]))


def says_nothing(window: Window) -> bool:
    return not _all_said(window)


def never_opens(window: Window) -> bool:
    """Where it has dates, none of them is one of its days and no holiday, or its hours happen on none of them."""
    if window.dates is None:
        return not window.days
    dates = [day for text in sorted(window.dates) if 1 < (day := date.fromisoformat(text)).year < date.max.year]
    days = [day for day in dates if starts(window, day)]
    return not any(_happens(window, day) for day in islice(days, _LOOKED))


def covering(windows: Sequence[Window], place: int) -> tuple[str, ...]:
    """The later windows that say something of what the one at `place` says."""
    mine = set(_all_said(windows[place]))
    return tuple(w.name for w in windows[place + 1 :] if mine & set(_all_said(w)))


def _happens(window: Window, day: date) -> bool:
    noon = datetime.combine(day, time(12), UTC)
    return any(is_open(window, edge) for edge in edges(window, noon, 1))


def _covered(window: Window, later: Sequence[Window]) -> bool:
    """Whether each thing the window says is said again by later windows at every second of the week it is open."""
    return all(_hidden(window, [w for w in later if said in _all_said(w)]) for said in _all_said(window))


def _all_said(window: Window) -> list[tuple[str, str]]:
    """(pool, setting) of all that it says; of rules for all pools ("", rule)."""
    rules = [("", name) for name in RULES if getattr(window, name) is not None]
    return rules + [(pool, name) for pool, said in window.pools.items() for name in _names(said)]


def _names(said: Hours) -> Iterable[str]:
    return (name for name in SETTINGS if getattr(said, name) is not None)


def _hidden(window: Window, over: Sequence[Window]) -> bool:
    sure = [w for w in over if not w.holidays and w.dates is None and (w.zone == window.zone or _always(w))]
    found = sorted({edge for w in (window, *sure) for stretch in _stretches(w) for edge in stretch})
    return all(any(_holds(w, edge) for w in sure) for edge in found if _holds(window, edge))


def _always(window: Window) -> bool:
    return window.start == window.end and len(window.days) == 7


def _stretches(window: Window) -> Iterable[tuple[timedelta, timedelta]]:
    """Its stretches of the week, from Monday 0:00; one that passes Sunday's end goes on at its beginning."""
    start, end = _clock(window.start), _clock(window.end)
    for day in sorted(window.days):
        opens, closes = day * DAY + start, day * DAY + end + (DAY if end <= start else timedelta())
        yield opens, min(closes, 7 * DAY)
        if closes > 7 * DAY:
            yield timedelta(), closes - 7 * DAY


def _clock(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)


def _holds(window: Window, moment: timedelta) -> bool:
    return any(start <= moment < end for start, end in _stretches(window))
