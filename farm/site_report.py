"""What a report from elsewhere may say, and what its times mean here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from executors.contract import Event
from executors.site.protocol import Report
from farm.clock import Clock, ServerClock, micros
from farm.refusal import Conflict

CLOCK_OFF_S = 20.0  # a clock that seems less far off may be right: reports take their time


def its_own(report: Report, site: str) -> None:
    """An executor elsewhere speaks for itself alone. Raises Conflict."""
    named = {r.executor for r in report.ready} | {r.executor for r in report.snapshot or ()}
    if others := (named | set(report.lost) | set(report.events)) - {site}:
        raise Conflict(f"the site {site} speaks of {min(others)!r}", "sync", "each executor speaks for itself alone")


def events_of(report: Report, here: bool, clock: Clock) -> Mapping[str, Sequence[Event]]:
    """Its events by our times. What comes from this machine has them, unless we go by the clock of a server."""
    return report.events if here and not isinstance(clock, ServerClock) else timed(report, clock.now())


def timed(report: Report, now: datetime) -> Mapping[str, Sequence[Event]]:
    """Its events; those of a clock that is far off by our times. Durations stay as they are."""
    ahead = report.now - micros(now) * 1000
    if not report.now or abs(ahead) < CLOCK_OFF_S * 1e9:
        return report.events
    return {who: [_shifted(event, ahead) for event in events] for who, events in report.events.items()}


def _shifted(event: Event, ahead: int) -> Event:
    return replace(event, at=max(0, event.at - ahead), started=event.started and max(0, event.started - ahead))
