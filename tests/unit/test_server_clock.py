"""The farm's clock on PostgreSQL is that of the server."""

from datetime import datetime, timedelta

from executors.contract import Event, EventKind
from executors.site.protocol import Report
from farm.clock import ServerClock, TurnedClock, micros
from farm.site_report import events_of

SECOND = timedelta(seconds=1)


class Trial:
    """A server whose clock is turned, and seconds since boot."""

    def __init__(self) -> None:
        self.server, self.passed, self.answer_s = TurnedClock(), 100.0, 0.0
        self.clock = ServerClock(self.ask, lambda: self.passed)

    def ask(self) -> datetime:
        self.pass_by(self.answer_s / 2)
        said = self.server.now()
        self.pass_by(self.answer_s / 2)
        return said

    def pass_by(self, seconds: float) -> None:
        self.passed += seconds
        self.server.turn(seconds)

    def off_s(self) -> float:
        return (self.clock.now() - self.server.now()).total_seconds()


def test_it_says_what_the_server_says_and_goes_on_between_two_looks() -> None:
    trial = Trial()
    assert trial.off_s() == 0
    trial.pass_by(7)
    assert trial.off_s() == 0


def test_a_look_makes_good_what_has_drifted_and_allows_for_the_way() -> None:
    trial = Trial()
    trial.server.turn(3)
    assert trial.off_s() == -3
    trial.answer_s = 0.8
    trial.clock.look()
    assert abs(trial.off_s()) < 1e-6


def test_an_answer_that_took_long_is_not_believed() -> None:
    trial = Trial()
    trial.answer_s = 30
    trial.server.turn(3)
    trial.clock.look()
    assert trial.off_s() == -3


def test_it_waits_where_it_was_a_moment_ahead_and_never_goes_back() -> None:
    trial = Trial()
    before = trial.clock.now()
    trial.server.turn(-1)
    trial.clock.look()
    assert trial.clock.now() == before
    trial.pass_by(1.5)
    assert trial.clock.now() == before + SECOND / 2


def test_a_server_that_was_set_back_is_followed() -> None:
    trial = Trial()
    trial.server.turn(-3600)
    trial.clock.look()
    assert trial.off_s() == 0


def test_what_a_machine_says_whose_clock_is_off_gets_the_times_of_the_server() -> None:
    trial = Trial()
    ahead = micros(trial.server.now() + 300 * SECOND) * 1000
    event = Event(1, EventKind.FINISHED, "1.1.1", at=ahead - 2 * 10**9, started=ahead - 5 * 10**9)
    report = Report("s", events={"e": [event]}, now=ahead)
    (put_right,) = events_of(report, True, trial.clock)["e"]
    assert put_right.at == micros(trial.server.now() - 2 * SECOND) * 1000
    assert put_right.at - put_right.started == event.at - event.started
    assert list(events_of(report, True, trial.server)["e"]) == [event]
