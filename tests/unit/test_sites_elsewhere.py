"""Executors elsewhere are sites of their own: told apart, heard of, given up, and refused when they come too late."""

from pathlib import Path

import pytest
from sqlalchemy import select

from executors.contract import Event, EventKind, Ready, Running, Work
from executors.packed import Works
from executors.simulated import SimulatedOptions
from executors.site.protocol import Message, Report
from farm import fleet, offers
from farm import tables as t
from farm.clock import micros
from farm.config import FarmConfig
from farm.db import migrate
from farm.queue.cancel import cancel
from farm.reconcile import reconcile
from farm.reference import parse_reference
from farm.refusal import Conflict, NotFound
from farm.site_desk import Desk
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "slots": 1, "ceiling": 4, "gpus": 1, "network": "outbound", "idle": "1h", "boot": 60}
CLOUD = {"cloud": POOL}


class Far:
    """The gateway of one executor, as far as the farm sees it."""

    def __init__(self, farm: SimulatedFarm, name: str, session: str = "s") -> None:
        self.farm, self.name, self.session = farm, name, session
        self.received = self.seq = 0
        self.works: dict[str, Work] = {}
        self.told: list[Message] = []

    def sync(self, **more: object) -> None:
        about = {"term": self.farm.term, "received": self.received, "ready": (Ready(self.name, 1),), **more}
        answer = self.farm.sites.sync(Report(self.session, **about), self.name)
        if answer.settle:
            here = tuple(Running(self.name, a, w.token, "running") for a, w in self.works.items())
            answer = self.farm.sites.sync(Report(self.session, **{**about, "snapshot": here, "events": {}}), self.name)
        for message in answer.messages:
            self.received = message.n
            self.told.append(message)
            self.works |= {w.attempt: w for w in Works.of(message.works)}

    def finish(self, work: Work, ahead_s: float = 0, **how: object) -> None:
        self.seq += 1
        now = micros(self.farm.clock.now()) * 1000 + int(ahead_s * 1e9)
        end = Event(self.seq, EventKind.FINISHED, work.attempt, work.token, started=now - 10**9, at=now, **how)
        self.works.pop(work.attempt, None)
        self.sync(events={self.name: [end]}, now=now)

    def kinds(self) -> list[str]:
        return [m.kind for m in self.told]


@pytest.fixture
def farm(tmp_path: Path) -> SimulatedFarm:
    made = SimulatedFarm(tmp_path / "farm.db", FarmConfig.model_validate({"pools": CLOUD}), SimulatedOptions(boot_s=1))
    migrate(made.db, "farm.db")
    made.fleet.outbound = ("cloud",)
    return made


def joined(farm: SimulatedFarm, count: int = 1) -> list[Far]:
    """So many executors elsewhere, each with a task."""
    farm.submit(
        {"name": "s", "argv": ["true"], "predicted_s": 600, "array": {"first": 1, "last": count}}, lane="interactive"
    )
    for _ in range(5):
        farm.clock.turn(1)
        farm.fleet.list_machines()
        reconcile(farm.fleet)
    far = [Far(farm, name) for name in farm.alive()]
    for one in far:
        one.sync()
    for one in far:
        one.sync()
    assert [len(one.works) for one in far] == [1] * count
    return far


def silence(farm: SimulatedFarm, far: Far, seconds: float) -> None:
    desk: Desk = farm.sites._elsewhere[far.name]
    desk._heard -= seconds


def states(farm: SimulatedFarm) -> list[str]:
    with farm.db.read() as tx:
        return list(tx.execute(select(t.Attempt.state).order_by(t.Attempt.ordinal)).scalars())


def test_each_gets_its_own(farm: SimulatedFarm):
    one, two = joined(farm, 2)
    assert {m.executor for m in one.told} == {one.name}
    assert {m.executor for m in two.told} == {two.name}
    farm.gateway.talk()
    assert farm.gateway.attached == {}  # the site beside the farm hears nothing of them
    one.finish(next(iter(one.works.values())))
    two.finish(next(iter(two.works.values())))
    assert farm.job(1)["state"] == "done"


def test_a_cancelled_attempt_is_told_to_all(farm: SimulatedFarm):
    one, two = joined(farm, 2)
    farm.sites.tell(Message(0, "cancel", attempts=tuple(one.works)))
    one.sync()
    two.sync()
    assert (one.kinds()[-1], two.kinds()[-1]) == ("cancel", "cancel")


def test_one_speaks_for_itself_alone(farm: SimulatedFarm):
    one, two = joined(farm, 2)
    with pytest.raises(Conflict, match="speaks of"):
        one.sync(lost=(two.name,))
    with pytest.raises(Conflict):
        one.sync(ready=(Ready(two.name, 1),))
    with pytest.raises(NotFound):
        Far(farm, "nobody").sync()


def test_what_the_farms_own_gateway_says_of_them_is_nothing(farm: SimulatedFarm):
    (one,) = joined(farm)
    farm.gateway.lost = [one.name]
    farm.gateway.talk()
    farm.gateway.lost = [one.name]
    farm.gateway.talk()
    assert farm.alive() == [one.name]


def test_silent_for_longer_than_its_lease_it_is_lost_and_its_late_result_refused(farm: SimulatedFarm):
    (one,) = joined(farm)
    work = next(iter(one.works.values()))
    silence(farm, one, 599)
    reconcile(farm.fleet)
    assert farm.alive() == [one.name]
    silence(farm, one, 2)
    reconcile(farm.fleet)
    assert one.name not in farm.alive()
    assert states(farm) == ["lost"]
    one.finish(work)
    one.sync()
    assert one.kinds()[-1] == "stop"
    with farm.db.read() as tx:
        assert tx.execute(select(t.Refused.attempt)).scalars().all() == [work.attempt]
        why = tx.execute(select(t.Executor.why).where(t.Executor.id == one.name)).scalar_one()
    assert "not heard of for 10 min" in why
    assert farm.job(1)["state"] != "done"


def test_a_clock_that_jumps_makes_nobody_silent(farm: SimulatedFarm):
    (one,) = joined(farm)
    farm.clock.turn(7200)
    reconcile(farm.fleet)
    assert farm.alive() == [one.name]


def test_after_a_restart_they_have_a_whole_lease_and_what_runs_is_adopted(farm: SimulatedFarm):
    (one,) = joined(farm)
    farm.restart()
    farm.fleet.outbound = ("cloud",)
    farm.sites.recall()
    reconcile(farm.fleet)
    assert not farm.sites.caught_up(one.name)
    one.received = 0
    one.sync()
    assert states(farm) == ["claimed"]
    one.finish(next(iter(one.works.values())))
    assert farm.job(1)["state"] == "done"


def test_an_attempt_that_never_arrived_goes_again(farm: SimulatedFarm):
    (one,) = joined(farm)
    Far(farm, one.name, session="another gateway").sync()
    assert states(farm) == ["lost", "claimed"]


def test_who_is_gone_is_forgotten(farm: SimulatedFarm):
    (one,) = joined(farm)
    silence(farm, one, 700)
    reconcile(farm.fleet)
    reconcile(farm.fleet)
    assert farm.sites._elsewhere.keys() & {one.name} == set()


def test_an_executor_whose_clock_is_an_hour_ahead(farm: SimulatedFarm):
    (one,) = joined(farm)
    one.finish(next(iter(one.works.values())), ahead_s=3600)
    with farm.db.read() as tx:
        row = tx.execute(select(t.Attempt)).one()
    assert row.finished == farm.clock.now()
    assert (row.finished - row.started).total_seconds() == 1


def test_processes_elsewhere_are_told_with_their_machine(farm: SimulatedFarm):
    (one,) = joined(farm)
    one.sync(processes=({"role": "agent", "pid": 7},))
    assert [*farm.sites.processes] == [{"role": "agent", "pid": 7, "site": one.name}]


def test_processes_of_a_machine_that_is_silent_are_told_no_more(farm: SimulatedFarm):
    (one,) = joined(farm)
    one.sync(processes=({"role": "agent", "pid": 7},))
    silence(farm, one, 11)
    assert [*farm.sites.processes] == []


def test_what_an_executor_hands_back_when_it_goes_is_not_given_to_it_again(farm: SimulatedFarm):
    (one,) = joined(farm)
    (work,) = one.works.values()
    one.sync(leaving=True)
    one.finish(work, cause="cancelled", exit=-15)
    one.sync(leaving=True)
    assert one.works == {}
    one.sync(leaving=True, ready=(), lost=(one.name,))
    assert farm.alive() == []
    assert farm.job(1)["state"] in ("queued", "running")
    assert states(farm) == ["lost"]


def test_why_it_went_is_told_by_who_knows(farm: SimulatedFarm):
    one, two = joined(farm, 2)
    one.sync(leaving=True, ready=(), lost=(one.name,))
    two.sync(ready=(), lost=(two.name,))
    with farm.db.write() as tx:
        fleet.said(tx, one.name, "somebody needs it")
        fleet.said(tx, two.name, "somebody needs it")
        rows = tx.execute(select(t.Executor.id, t.Executor.why)).all()
    assert dict(tuple(row) for row in rows) == {one.name: "somebody needs it", two.name: "its executor vanished"}


def with_device(farm: SimulatedFarm) -> tuple[Far, Work, int]:
    """An executor with one device, which a task has that is just cancelled; the job that waits for it."""
    step = {"name": "s", "argv": ["true"], "predicted_s": 600, "needs": {"gpus": 1}}
    farm.submit(step, lane="interactive")
    for _ in range(5):
        farm.clock.turn(1)
        farm.fleet.list_machines()
        reconcile(farm.fleet)
    (name,) = farm.alive()
    one = Far(farm, name)
    for _ in range(2):
        one.sync()
    (work,) = one.works.values()
    other = farm.submit(step, lane="interactive")
    with farm.db.write() as tx:
        cancelled = cancel(tx, parse_reference("1"), farm.clock.now())
    farm.sites.tell(Message(0, "cancel", attempts=tuple(attempt for _, attempt in cancelled.attempts)))
    farm.sites.kick()
    one.sync()
    assert (one.kinds()[-1], list(one.works)) == ("cancel", [work.attempt])
    return one, work, other


def test_a_device_goes_to_the_next_task_when_the_end_of_the_last_one_is_told(farm: SimulatedFarm):
    one, work, other = with_device(farm)
    one.finish(work, cause="cancelled", exit=-15)
    one.sync()
    assert list(one.works) == [f"{other}.1.1"]


@pytest.mark.parametrize("restarted", [False, True])
def test_when_its_end_is_never_told_it_is_asked_for(farm: SimulatedFarm, restarted: bool):
    """The message that it should begin may never have arrived; or there is a new service, which knows nothing."""
    one, work, other = with_device(farm)
    if restarted:
        farm.restart()
        farm.fleet.outbound = ("cloud",)
        farm.sites.recall()
        one.received = 0
        one.sync()
    for _ in range(3):
        farm.clock.turn(30)
        reconcile(farm.fleet)
        one.sync()
        assert list(one.works) == [work.attempt]
    del one.works[work.attempt]
    farm.clock.turn(30)
    reconcile(farm.fleet)
    one.sync()
    one.sync()
    assert list(one.works) == [f"{other}.1.1"]


def test_an_order_waits_for_devices_that_a_lost_executor_may_still_use(
    farm: SimulatedFarm, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(offers, "held_back", lambda _tx, _config: {"cloud"})
    farm.submit({"name": "s", "argv": ["true"], "predicted_s": 600, "needs": {"gpus": 1}}, lane="interactive")
    reconcile(farm.fleet)
    assert farm._orders() == 1
    monkeypatch.undo()
    reconcile(farm.fleet)
    assert farm._orders() == 0
    assert len(farm.alive()) == 1
