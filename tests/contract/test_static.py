"""Owned machines keep the provider contract, and are lent to the farm only while nobody needs them."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from executors import static
from executors.contract import NOBODY, Answer, MachineState, Order, Provider, Standby, StandsBy, Surroundings
from executors.errors import SoldOut
from executors.invitation import Invitation
from executors.metered import metered
from executors.static import StaticOptions, StaticProvider
from tests.contract.provider_suite import ProviderSuite
from tests.contract.yard import eventually

SECOND = timedelta(seconds=1)


def invite(executor: str, slots: int) -> Invitation:
    return Invitation("https://farm", "", "f1", "pool", executor, slots, f"secret of {executor}", 60)


def around(home: Path, lease_s: float = 60) -> Surroundings:
    place = str(home)
    return Surroundings(
        "f1", "pool", place, place, place, "plain", timedelta(seconds=lease_s), invite, network="outbound"
    )


class Owned(threading.Thread):
    """A machine with the light program: does what it is told, at once."""

    def __init__(self, name: str, provider: list[StaticProvider], slots: int = 1) -> None:
        super().__init__(daemon=True)
        self.said = Standby(name, slots, free=True)
        self._provider = provider  # the one in the list is called: it may be another after a restart
        self.over = False
        self.start()

    def run(self) -> None:
        while not self.over:
            said, provider = self.said, self._provider[0]
            provider.heed(said)
            answer = provider.answer(said, timedelta(seconds=0.05))
            if self.said is said and provider is self._provider[0]:
                self._do(said, answer)

    def _do(self, said: Standby, answer: Answer) -> None:
        if answer.invitation:
            self.said = replace(said, running=Invitation.read(answer.invitation).executor, ended="", error="")
        elif answer.end:
            self.said = replace(said, running="", ended=answer.end)

    def break_down(self) -> None:
        self.said = replace(self.said, running="", ended=self.said.running, error="its process was killed")


class TestStatic(ProviderSuite):
    @pytest.fixture(autouse=True)
    def _yard(self, tmp_path: Path) -> Iterator[None]:
        self.home, self.now = tmp_path, []
        (tmp_path / "nowhere").mkdir()
        self.make()
        self.machines = [Owned(f"m{n}", self.now) for n in range(self.ceiling)]
        eventually(lambda: all(self.now[0]._hears(m.said.machine) for m in self.machines))
        yield
        for machine in self.machines:
            machine.over = True
        for machine in self.machines:
            machine.join(30)

    def make(self) -> Provider:
        for before in self.now:  # a service that has ended writes nothing, whatever its last callers still say
            with before._changed:
                before._books._file = self.home / "nowhere" / "loans.json"
        made = static.provider({"ceiling": 100}, around(self.home))
        for machine in getattr(self, "machines", ()):  # all of them come back before anybody asks
            made.heed(machine.said)
        self.now[:] = [made]
        return made

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        """What the machines speak to after a restart is the new one: there is one service."""
        yield _Latest(self.now)
        self.now[0].terminate([m.id for m in self.now[0].machines()])
        self.now[0].close()

    def break_down(self, machine: str) -> None:
        eventually(lambda: any(m.said.running == machine for m in self.machines))
        next(m for m in self.machines if m.said.running == machine).break_down()


class _Latest:
    def __init__(self, now: list[StaticProvider]) -> None:
        self._now = now
        for name in ("offers", "launch", "machines", "terminate", "vanished", "close"):
            setattr(self, name, lambda *words, name=name: getattr(self._now[0], name)(*words))

    def vanished(self, timeout: timedelta, /):
        return self._now[0].vanished(timeout)

    def close(self) -> None:
        self._now[0].close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(tmp_path: Path, clock: Clock) -> StaticProvider:
    return StaticProvider(StaticOptions(), around(tmp_path), clock)


def order(token: str, count: int = 1, slots: int = 1) -> Order:
    return Order(token, "pool", count, slots)


def told(pool: StaticProvider, said: Standby) -> Answer:
    pool.heed(said)
    return pool.answer(said, timedelta())


ADA = Standby("ws-3", 4, free=True)


def test_the_metered_one_is_found_out(pool: StaticProvider):
    assert isinstance(metered(pool, "pool").inner, StandsBy)


def test_one_that_nobody_hears_of_is_no_offer(pool: StaticProvider, clock: Clock):
    with pytest.raises(SoldOut, match=f"{NOBODY}: none stands by"):
        pool.launch(order("a"))
    told(pool, ADA)
    clock.now += static.HEARD_S + 1
    with pytest.raises(SoldOut, match=NOBODY):
        pool.launch(order("a"))
    told(pool, ADA)
    assert len(pool.launch(order("a")).machines) == 1


def test_one_that_is_needed_by_its_owner_is_no_offer_and_says_why(pool: StaticProvider):
    told(pool, replace(ADA, free=False, why="ada is at the keyboard"))
    with pytest.raises(SoldOut, match="ws-3: ada is at the keyboard"):
        pool.launch(order("a"))


def test_one_with_too_few_slots_is_no_offer(pool: StaticProvider):
    told(pool, ADA)
    with pytest.raises(SoldOut, match="has 4 of 5 slots"):
        pool.launch(order("a", slots=5))


def test_one_with_fewer_slots_than_the_pool_works_with_those_it_has_where_that_is_of_use(pool: StaticProvider):
    told(pool, ADA)
    told(pool, Standby("ws-1", 8, free=True))
    small = Order("a", "pool", 1, 6, least=2)
    assert [m.slots for m in pool.launch(small).machines] == [6]  # the one that is large enough goes first
    assert [m.slots for m in pool.launch(replace(small, token="b")).machines] == [4]
    invited = Invitation.read(told(pool, ADA).invitation)
    assert (invited.executor, invited.slots) == ("b-1", 4)
    told(pool, Standby("ws-2", 1, free=True))
    with pytest.raises(SoldOut, match="ws-2: has 1 of 2 slots"):
        pool.launch(replace(small, token="c"))


def test_who_comes_or_becomes_free_is_news_once(pool: StaticProvider, clock: Clock):
    assert pool.heed(ADA).freed
    assert not pool.heed(ADA).freed
    pool.heed(replace(ADA, free=False, why="a hold file"))
    assert pool.heed(ADA).freed
    clock.now += static.HEARD_S + 1
    assert pool.heed(ADA).freed


def test_an_order_wakes_the_one_it_lends(pool: StaticProvider):
    pool.heed(ADA)
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(pool.answer(ADA, timedelta(hours=9))))
    waiting.start()
    (machine,) = pool.launch(order("a")).machines
    waiting.join(30)
    assert [Invitation.read(a.invitation).executor for a in answers] == [machine.id] == ["a-1"]


def test_an_invitation_that_was_lost_is_told_again(pool: StaticProvider):
    told(pool, ADA)
    pool.launch(order("a"))
    assert told(pool, ADA) == told(pool, ADA) != Answer()


def test_who_comes_back_to_his_machine_sends_its_executor_home(pool: StaticProvider):
    told(pool, ADA)
    pool.launch(order("a"))
    assert not pool.heed(replace(ADA, running="a-1")).leaves
    heard = pool.heed(replace(ADA, running="a-1", free=False, why="ada is at the keyboard"))
    assert (heard.leaves, heard.why, heard.freed) == ("a-1", "ada is at the keyboard", False)
    pool.heed(replace(ADA, ended="a-1", error="ada is at the keyboard", free=False, why="ada is at the keyboard"))
    (machine,) = pool.machines()
    assert (machine.state, machine.error) == (MachineState.ENDED, "ada is at the keyboard")
    assert list(pool.vanished(timedelta())) == ["a-1"]


def test_one_that_was_lent_a_moment_before_somebody_came_is_given_back(pool: StaticProvider):
    told(pool, ADA)
    pool.launch(order("a"))
    assert told(pool, replace(ADA, free=False, why="ada is at the keyboard")) == Answer()
    assert [m.state for m in pool.machines()] == [MachineState.ENDED]


def test_one_that_started_anew_has_lost_its_executor(pool: StaticProvider):
    told(pool, ADA)
    pool.launch(order("a"))
    told(pool, replace(ADA, running="a-1"))
    assert told(pool, ADA) == Answer()
    (machine,) = pool.machines()
    assert "started anew" in machine.error
    assert len(pool.launch(order("b")).machines) == 1


def test_an_executor_of_another_life_is_ended(pool: StaticProvider):
    assert told(pool, replace(ADA, running="old-1")) == Answer(end="old-1")
    with pytest.raises(SoldOut, match="works already"):
        pool.launch(order("a"))


def test_who_is_cut_off_is_let_go_and_told_when_he_is_back(pool: StaticProvider, clock: Clock):
    told(pool, ADA)
    pool.launch(order("a"))
    told(pool, replace(ADA, running="a-1"))
    clock.now += static.HEARD_S + 1
    pool.terminate(["a-1"])
    assert [m.state for m in pool.machines()] == [MachineState.ENDED]
    assert told(pool, replace(ADA, running="a-1")) == Answer(end="a-1")


def test_who_is_silent_for_longer_than_an_executor_lives_has_ended_it(pool: StaticProvider, clock: Clock):
    told(pool, ADA)
    pool.launch(order("a"))
    told(pool, replace(ADA, running="a-1"))
    clock.now += 60 + static.LIVES_S - 1
    assert [m.state for m in pool.machines()] == [MachineState.RUNNING]
    clock.now += 2
    assert list(pool.vanished(timedelta())) == ["a-1"]


def test_a_restarted_service_knows_what_it_lent_and_hears_them_out(tmp_path: Path, pool: StaticProvider, clock: Clock):
    told(pool, ADA)
    pool.launch(order("a"))
    told(pool, replace(ADA, running="a-1"))
    clock.now += 10**6  # the service was away for long
    again = StaticProvider(StaticOptions(), around(tmp_path), clock)
    assert [(m.id, m.state) for m in again.machines()] == [("a-1", MachineState.RUNNING)]
    assert told(again, replace(ADA, running="a-1")) == Answer()
    assert [m.id for m in again.launch(order("a")).machines] == ["a-1"]


@pytest.mark.parametrize("text", ["", "[{", "7", '[{"id": "a-1"}]', '[["a-1"]]', "null", "[" * 100_000, "WRONG"])
def test_damaged_loans_are_moved_aside_and_the_farm_starts(tmp_path: Path, pool: StaticProvider, text: str):
    told(pool, ADA)
    pool.launch(order("a"))
    file = tmp_path / "loans.json"
    text = text if text != "WRONG" else file.read_text().replace('"slots": 1', '"slots": "1"')
    file.write_text(text)
    again = StaticProvider(StaticOptions(), around(tmp_path))
    assert list(again.machines()) == []
    assert told(again, replace(ADA, running="a-1")) == Answer(end="a-1")
    (aside,) = tmp_path.glob("loans.json.damaged-*")
    assert aside.read_text() == text


def test_a_loan_is_on_the_disk_before_it_takes_the_old_ones_place(
    pool: StaticProvider, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    fsync, moved = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("fsync"), fsync(file))[1])
    monkeypatch.setattr(Path, "replace", lambda *files: (done.append("replace"), moved(*files))[1])
    told(pool, ADA)
    pool.launch(order("a"))
    assert done[:3] == ["fsync", "replace", "fsync"]


def test_the_ceiling_counts_slots(tmp_path: Path):
    pool = static.provider({"ceiling": 3}, around(tmp_path))
    for name in ("a", "b", "c"):
        told(pool, replace(ADA, machine=name))
    assert len(pool.launch(order("x", count=3, slots=2)).machines) == 1
