"""The agent of an executor: what it keeps, what it forgets, what survives it."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.contract import Event, EventKind, Work
from executors.site import journal as journal_file
from executors.site import line as line_file
from executors.site import slot as slot_file
from executors.site.agent import Agent
from executors.site.backlog import Backlog
from executors.site.ground import base, forget, of_executor, record
from executors.site.journal import Journal
from executors.site.line import Line
from executors.site.rung import FLOOR, Rung
from executors.site.slot import Floor, Slot
from executors.site.spool import Spools
from executors.store import FolderStore
from tests.contract.yard import commands_with, eventually


class Desk:
    """An agent in a folder, and what was heard of it."""

    def __init__(self, folder: Path, slots: int = 2) -> None:
        self.folder, self.slots = folder, slots
        self.agent = Agent("e1", str(folder / "x"), slots, str(folder / "store"))
        self.seen: list[Event] = []

    @property
    def last(self) -> int:
        return self.seen[-1].seq if self.seen else 0

    def work(self, attempt: str, *argv: str, **more: object) -> Work:
        return Work(**{"attempt": attempt, "token": 1, "term": 1, "argv": argv, **more})

    def look(self, acknowledged: int = 0) -> None:
        self.seen += self.agent.poll(self.last, acknowledged, 0, 0.5)

    def until(self, *attempts: str) -> list[Event]:
        while set(attempts) - set(ends := {e.attempt: e for e in self.seen if e.kind is EventKind.FINISHED}):
            self.look()
        return [ends[a] for a in attempts]

    def until_started(self, attempt: str) -> None:
        while not any(e.attempt == attempt and e.kind is EventKind.STARTED for e in self.seen):
            self.look()

    def keeper(self) -> int:
        return next(p["pid"] for p in self.agent.processes() if p["role"] == "keeper")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.agent.stop(0)
    desk.agent.close()


def test_numbers_have_no_gaps_and_start_at_one(desk: Desk):
    desk.agent.submit([desk.work(f"1.{n}.1", "echo", "x") for n in range(50)])
    desk.until(*(f"1.{n}.1" for n in range(50)))
    assert [e.seq for e in desk.seen] == list(range(1, len(desk.seen) + 1))
    assert desk.agent.last == desk.last


@pytest.mark.parametrize(("hopeless", "cause"), [(True, "secret"), (False, "inputs")])
def test_what_can_not_begin_is_told_with_whether_another_try_would_help(desk: Desk, hopeless, cause):
    desk.agent.submit([desk.work("1.1.1", "true", unready="the secret env:X is gone", hopeless=hopeless)])
    (end,) = desk.until("1.1.1")
    assert (end.cause, end.message) == (cause, "the secret env:X is gone")


def test_a_poll_waits_no_longer_than_it_was_told(desk: Desk):
    longest = 0.0
    for _ in range(desk.slots + 1):  # each of them ends one of these when it is there
        began = time.monotonic()
        assert desk.agent.poll(0, 0, 0, 0.05) == []
        longest = max(longest, time.monotonic() - began)
    assert 0.04 <= longest < 20


def test_a_keeper_that_is_there_ends_a_poll_that_brings_nothing(tmp_path: Path):
    """So that who polls asks for the processes anew."""
    desk = Desk(tmp_path, slots=1)
    try:
        assert desk.agent.poll(0, 0, 0, 600) == []
        os.kill(desk.keeper(), signal.SIGKILL)
        assert desk.agent.poll(0, 0, 0, 600) == []
    finally:
        desk.agent.stop(0)
        desk.agent.close()


def test_that_others_are_there_is_told_after_what_happened(tmp_path: Path):
    journal = Journal(str(tmp_path / "events"), Spools(str(tmp_path / "spool")))
    journal.append([{"kind": EventKind.STARTED, "attempt": "1.1.1", "at": 1}])
    journal.stir()
    assert [len(journal.after(seq, 600, 600)) for seq in (0, 1)] == [1, 0]
    assert journal.after(1, 0.01) == []
    journal.close()


def test_a_poll_is_woken_by_an_event(desk: Desk):
    desk.agent.submit([desk.work("1.1.1", "true")])
    began = time.monotonic()
    while not desk.agent.poll(0, 0, 0, 30):  # a keeper that is there ends one, too
        pass
    assert time.monotonic() - began < 20


def test_processes_name_agent_keepers_and_tasks(desk: Desk):
    mark = f"9201.{os.getpid()}"
    desk.agent.submit([desk.work("1.1.1", "sleep", mark)])
    desk.until_started("1.1.1")
    eventually(lambda: sum(p["role"] == "keeper" for p in desk.agent.processes()) == 2)
    by_role: dict[str, list] = {}
    for process in desk.agent.processes():
        by_role.setdefault(process["role"], []).append(process)
    assert [p["pid"] for p in by_role["agent"]] == [os.getpid()]
    assert len(by_role["keeper"]) == 2
    (task,) = by_role["task"]
    assert Path(f"/proc/{task['pid']}/cmdline").read_bytes() == f"sleep\0{mark}\0".encode()
    assert (task["attempt"], task["executor"]) == ("1.1.1", "e1")
    assert abs(task["started"] - time.time_ns()) < 60e9


def test_the_lease_is_written_on_the_clock_that_never_jumps(desk: Desk):
    desk.agent.poll(0, 0, 0, 0)
    assert not (desk.folder / "x" / "lease").exists()
    desk.agent.poll(0, 0, 100, 0)
    first = (desk.folder / "x" / "lease").read_text()
    assert 90 < float(first) - time.monotonic() <= 100
    desk.agent.poll(0, 0, 100, 0)
    assert (desk.folder / "x" / "lease").read_text() == first


class _Stillborn(Line):
    """A line whose keeper dies at once."""

    def __init__(self, folder: Path, *args: object, **more: object) -> None:
        super().__init__(folder, *args, held=Rung("none", ("false",), alone=False), **more)


@pytest.fixture
def low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """On the lowest rung."""
    monkeypatch.setattr(line_file, "rung", lambda: FLOOR)
    desk = Desk(tmp_path)
    yield desk
    desk.agent.stop(0)
    desk.agent.close()


@pytest.mark.parametrize("number", ["KILL", "STOP"])
def test_a_task_that_ends_or_stops_its_keeper_hurts_itself_alone(low: Desk, number: str):
    """Where there are no namespaces; above, it can't."""
    desk, mark = low, f"9207.{os.getpid()}"
    script = f"setsid sleep {mark} & sleep 0.1; kill -{number} $PPID; sleep {mark}"
    desk.agent.submit([desk.work("1.1.1", "sh", "-c", script), desk.work("1.2.1", "sleep", "0.5")])
    bad, good = desk.until("1.1.1", "1.2.1")
    assert (bad.cause, good.cause, good.exit) == ("lost", "", 0)
    desk.agent.submit([desk.work("1.3.1", "true"), desk.work("1.4.1", "true")])
    assert [e.exit for e in desk.until("1.3.1", "1.4.1")] == [0, 0]
    assert not commands_with(mark)


def test_keepers_that_can_not_live_end_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Rather than trying for ever: an executor that is fit for nothing says so by going."""
    died: list[int] = []
    gone = threading.Event()
    monkeypatch.setattr(slot_file.os, "_exit", lambda code: (died.append(code), gone.set()))
    monkeypatch.setattr(slot_file, "FAILS", 2)
    monkeypatch.setattr(slot_file, "Line", _Stillborn)
    desk = Desk(tmp_path, slots=1)
    assert gone.wait(60)
    assert died == [70]
    desk.agent.close()


def _limited(desk: Desk, **limits: float) -> Event:
    attempt = f"1.{len(desk.seen) + 1}.1"
    desk.agent.submit([desk.work(attempt, "sh", "-c", "while echo x; do sleep 0.02 & sleep 0.02; done", **limits)])
    return desk.until(attempt)[0]


def test_limits_reach_the_keeper_and_their_names_come_back(desk: Desk):
    given = {"timeout_s": 0.2, "silence_s": 0.01, "output_bytes": 5, "memory_bytes": 1 << 16, "processes": 1}
    causes = {name: _limited(desk, **{name: limit}) for name, limit in given.items()}
    assert {n: e.cause for n, e in causes.items()} == {
        "timeout_s": "timeout",
        "silence_s": "silence",
        "output_bytes": "output",
        "memory_bytes": "memory",
        "processes": "processes",
    }
    assert all("limit" in e.message for e in causes.values())


def test_groups_go_with_the_agent(desk: Desk):
    desk.agent.submit([desk.work("1.1.1", "sleep", "600", memory_bytes=1 << 30)])
    desk.until_started("1.1.1")
    cage = of_executor(base(), str(desk.folder / "x"))
    assert len(cage.inside()) == (1 if base().memory else 0)
    desk.agent.stop(0)
    assert not any(Path(folder).exists() for folder in cage.folders())


def test_groups_of_a_killed_agent_go_when_the_next_one_comes(tmp_path: Path):
    """What a killed executor leaves is ended by whoever comes to its folder next."""
    folder = tmp_path / "x"
    folder.mkdir()
    cage = of_executor(base(), str(folder))
    record(folder, cage)
    inner = cage.below("0.1")
    cage.offer()
    inner.make()
    forget(folder)
    assert not any(Path(path).exists() for path in cage.folders())


def test_a_killed_keeper_loses_its_task_and_is_replaced(desk: Desk):
    mark = f"9202.{os.getpid()}"
    desk.agent.submit([desk.work("1.1.1", "sh", "-c", f"echo partial; sleep {mark}")])
    desk.until_started("1.1.1")
    eventually(lambda: desk.look() or any(e.data == b"partial\n" for e in desk.seen))
    (victim,) = [p for p in desk.agent.processes() if p["role"] == "task"]
    parent = int(Path(f"/proc/{victim['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    (end,) = desk.until("1.1.1")
    assert (end.cause, end.hi - end.lo) == ("lost", len("partial\n"))
    eventually(lambda: not commands_with(f"sleep {mark}"))
    desk.agent.submit([desk.work(f"2.{n}.1", "echo", "on") for n in range(4)])
    assert [e.exit for e in desk.until(*(f"2.{n}.1" for n in range(4)))] == [0] * 4


@pytest.fixture
def frozen(tmp_path: Path) -> Desk:
    """Its only keeper has done something, and was stopped when it had nothing to do."""
    desk = Desk(tmp_path, slots=1)
    desk.agent.submit([desk.work("0.1.1", "true")])
    desk.until("0.1.1")
    os.kill(desk.keeper(), signal.SIGSTOP)
    return desk


LONG = {"LONG": "x" * 120_000}  # a word larger than the pipe to a keeper


def test_a_keeper_that_takes_nothing_is_replaced(frozen: Desk):
    frozen.agent.submit([frozen.work("1.1.1", "true", env=LONG)])
    assert frozen.until("1.1.1")[0].cause == "lost"
    frozen.agent.submit([frozen.work("1.2.1", "true", env=LONG)])
    assert frozen.until("1.2.1")[0].exit == 0
    frozen.agent.stop(0)
    frozen.agent.close()


def test_stop_does_not_wait_for_a_keeper_that_takes_nothing(frozen: Desk):
    frozen.agent.submit([frozen.work("1.1.1", "true", env=LONG)])
    frozen.agent.stop(0)
    assert frozen.until("1.1.1")[0].cause in ("cancelled", "lost")
    frozen.agent.close()


def test_another_life_goes_on_where_the_first_ended(tmp_path: Path):
    first = Desk(tmp_path)
    first.agent.submit([first.work("1.1.1", "echo", "kept", term=7), first.work("1.2.1", "sleep", "600", term=7)])
    first.until("1.1.1")
    first.until_started("1.2.1")
    (tmp_path / "y").mkdir()
    shutil.copytree(tmp_path / "x", tmp_path / "y" / "x")  # as it would be found after a crash
    first.agent.stop(0)
    first.agent.close()
    second = Desk(tmp_path / "y")
    kept, lost = second.until("1.1.1", "1.2.1")
    assert (kept.cause, lost.cause) == ("", "lost")
    assert [e.data for e in second.seen if e.kind is EventKind.LOG] == [b"kept\n"]
    assert [e.seq for e in second.seen] == list(range(1, len(second.seen) + 1))
    second.agent.submit([second.work("1.1.1", "echo", "again", term=7), second.work("1.3.1", "true", term=6)])
    (stale,) = second.until("1.3.1")
    assert stale.cause == "stale-term"
    assert sum(e.attempt == "1.1.1" and e.kind is EventKind.FINISHED for e in second.seen) == 1
    second.agent.stop(0)
    second.agent.close()


def test_stop_ends_what_runs_and_what_waits(tmp_path: Path):
    mark = f"9203.{os.getpid()}"
    desk = Desk(tmp_path, slots=1)
    desk.agent.submit([desk.work("1.1.1", "sleep", mark), desk.work("1.2.1", "sleep", mark)])
    desk.until_started("1.1.1")
    desk.agent.stop(1)
    assert not commands_with(f"sleep {mark}")
    ends = desk.until("1.1.1", "1.2.1")
    assert [e.cause for e in ends] == ["cancelled", "cancelled"]
    assert [e.started > 0 for e in ends] == [True, False]
    desk.agent.submit([desk.work("1.3.1", "true")])
    assert {r.attempt for r in desk.agent.snapshot()} == {"1.1.1", "1.2.1"}
    desk.agent.close()


def test_a_stopping_agent_answers_who_waits(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.agent.stop(0)
    desk.agent.nudge()
    assert desk.agent.poll(0, 0, 0, 0) == []
    desk.agent.close()


class Heard(list):
    """The end of a line to a keeper."""

    say = list.append


class TestSlot:
    """A slot whose keeper holds 1.1.1, announced, and 1.2.1 behind it."""

    @pytest.fixture
    def slot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slot]:
        monkeypatch.setattr(slot_file, "HARD_S", -1)  # what is cancelled is overdue at once
        spools = Spools(str(tmp_path / "spool"))
        journal = Journal(str(tmp_path / "events"), spools)
        store = FolderStore(str(tmp_path / "store"))
        slot = Slot(0, Floor(tmp_path, Backlog(1, lambda: None), journal, spools, store, {}))
        slot.floor.backlog.add(Work(name, 1, 1, ("x",)) for name in ("1.1.1", "1.2.1"))
        slot._held.update((work.attempt, work) for work in slot.floor.backlog.take(0, 9))
        slot._announce(Heard(), "1.1.1", 5, 1, "0-1", 0)
        yield slot
        journal.close()

    def cancel(self, slot: Slot, attempt: str) -> None:
        slot.floor.backlog.cancel([attempt])
        slot.cancel(attempt, 0)
        slot._pass_on(Heard())

    def causes(self, slot: Slot) -> dict[str, str]:
        return {e.attempt: e.cause for e in slot.floor.journal.after(0, 0) if e.kind is EventKind.FINISHED}

    def test_a_cancelled_attempt_that_is_returned_leaves_its_neighbour_alone(self, slot: Slot):
        self.cancel(slot, "1.2.1")
        assert slot._overdue()
        slot._returned(["1.2.1"])
        assert not slot._overdue()
        assert self.causes(slot) == {"1.2.1": "cancelled"}

    def test_the_end_of_another_does_not_stop_the_log_of_the_current_one(self, slot: Slot):
        self.cancel(slot, "1.2.1")
        slot._finish([["1.2.1", 0, 9, -15, "cancelled", "", 0, 0, "", 0, 0]])
        assert not slot._overdue()
        (slot.floor.folder / "spool" / "0-1").write_bytes(b"still here")
        slot._tail()
        assert [e.data for e in slot.floor.journal.after(0, 0) if e.kind is EventKind.LOG] == [b"still here"]
        slot._finish([["1.1.1", 5, 9, 0, "", "", 0, 0, "0-1", 0, 10]])
        assert slot.current is None

    def test_the_end_of_another_does_not_end_the_patience_with_a_stuck_one(self, slot: Slot):
        self.cancel(slot, "1.1.1")
        slot._finish([["1.2.1", 6, 9, 0, "", "", 0, 0, "", 0, 0]])
        assert slot._overdue()

    def test_only_what_was_cancelled_ends_so_with_its_keeper(self, slot: Slot):
        self.cancel(slot, "1.1.1")
        slot._bury()
        assert self.causes(slot) == {"1.1.1": "cancelled", "1.2.1": "lost"}
        assert not slot._overdue()


def fact(attempt: str, spool: str = "", hi: int = 0, kind: EventKind = EventKind.FINISHED) -> dict:
    return {"kind": kind, "attempt": attempt, "spool": spool, "hi": hi}


class TestJournal:
    @pytest.fixture
    def spools(self, tmp_path: Path) -> Spools:
        return Spools(str(tmp_path / "spool"))

    def test_segments_go_when_all_in_them_is_acknowledged(
        self, tmp_path: Path, spools: Spools, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(journal_file, "SEGMENT", 200)
        journal = Journal(str(tmp_path / "events"), spools)
        for n in range(1, 31):
            journal.append([fact(str(n))])
        several = len(list((tmp_path / "events").iterdir()))
        assert several > 5
        journal.acknowledge(29)
        assert len(list((tmp_path / "events").iterdir())) <= 2
        assert [e.seq for e in journal.after(0, 0)] == [30]
        journal.acknowledge(30)
        journal.close()
        again = Journal(str(tmp_path / "events"), spools)
        again.append([fact("next")])
        assert again.after(30, 0)[0].seq == 31
        again.close()

    def test_a_line_cut_off_by_a_crash_counts_for_nothing(self, tmp_path: Path, spools: Spools):
        journal = Journal(str(tmp_path / "events"), spools)
        journal.append([fact("1"), fact("2")])
        journal.close()
        (file,) = (tmp_path / "events").iterdir()
        file.write_bytes(file.read_bytes()[:-5])
        again = Journal(str(tmp_path / "events"), spools)
        assert [e.attempt for e in again.after(0, 0)] == ["1"]
        again.append([fact("3")])
        again.close()
        third = Journal(str(tmp_path / "events"), spools)
        assert [(e.seq, e.attempt) for e in third.after(0, 0)] == [(1, "1"), (2, "3")]
        third.close()

    def test_a_segment_that_is_but_a_cut_line_is_written_anew(self, tmp_path: Path, spools: Spools):
        journal = Journal(str(tmp_path / "events"), spools)
        journal.append([fact("1")])
        journal.close()
        (file,) = (tmp_path / "events").iterdir()
        file.write_bytes(file.read_bytes()[:-5])
        for life in range(1, 4):
            again = Journal(str(tmp_path / "events"), spools)
            again.append([fact(str(life))])
            assert [(e.seq, e.attempt) for e in again.after(0, 0)] == [(n, str(n)) for n in range(1, life + 1)]
            again.close()

    def test_output_is_not_kept_twice(self, tmp_path: Path, spools: Spools):
        (tmp_path / "spool" / "0-1").write_bytes(b"secret")
        journal = Journal(str(tmp_path / "events"), spools)
        journal.append([fact("1", "0-1", 6, EventKind.LOG)])
        assert journal.after(0, 0)[0].data == b"secret"
        (file,) = (tmp_path / "events").iterdir()
        assert b"secret" not in file.read_bytes()
        assert json.loads(file.read_bytes())["hi"] == 6
        journal.close()

    def test_spools_go_when_nothing_points_at_them(self, tmp_path: Path, spools: Spools):
        for name in ("0-1", "0-2", "1-1"):
            (tmp_path / "spool" / name).write_bytes(b"x")
        journal = Journal(str(tmp_path / "events"), spools)
        journal.append([fact("1", "0-1", 1), fact("2", "0-2", 1), fact("3", "1-1", 1)])
        journal.acknowledge(0)
        assert sorted(os.listdir(tmp_path / "spool")) == ["0-1", "0-2", "1-1"]
        journal.acknowledge(3)
        assert sorted(os.listdir(tmp_path / "spool")) == ["0-2", "1-1"]
        journal.close()

    def test_acknowledging_backwards_or_beyond_is_harmless(self, tmp_path: Path, spools: Spools):
        journal = Journal(str(tmp_path / "events"), spools)
        journal.append([fact("1"), fact("2"), fact("3")])
        journal.acknowledge(2)
        journal.acknowledge(1)
        assert [e.seq for e in journal.after(0, 0)] == [3]
        journal.acknowledge(99)
        journal.append([fact("4")])
        assert [e.seq for e in journal.after(0, 0)] == [4]
        journal.close()

    def test_an_answer_is_bounded(self, tmp_path: Path, spools: Spools, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "spool" / "0-1").write_bytes(bytes(1000))
        monkeypatch.setattr(journal_file, "ANSWER_BYTES", 250)
        journal = Journal(str(tmp_path / "events"), spools)
        journal.append([fact(str(n), "0-1", 100, EventKind.LOG) for n in range(9)])
        assert [len(journal.after(n, 0)) for n in (0, 2, 8)] == [2, 2, 1]
        journal.close()


class TestBacklog:
    @pytest.fixture
    def backlog(self) -> Backlog:
        return Backlog(3, lambda: None)

    def add(self, backlog: Backlog, *works: tuple[str, int]) -> None:
        backlog.add(Work(attempt=name, token=1, term=1, argv=("x",), slots=slots) for name, slots in works)

    def take(self, backlog: Backlog, slot: int, room: int = 9) -> list[str]:
        return [w.attempt for w in backlog.take(slot, room)]

    def test_slots_share_what_waits(self, backlog: Backlog):
        self.add(backlog, *((str(n), 1) for n in range(9)))
        assert self.take(backlog, 0) == ["0", "1", "2"]
        assert self.take(backlog, 1) == ["3", "4"]

    def test_half_of_what_was_here_is_little(self, backlog: Backlog):
        self.add(backlog, *((str(n), 1) for n in range(9)))
        self.take(backlog, 0)
        for name in ("0", "1", "2"):
            assert not backlog.low
            backlog.finished(0, [name])
        self.take(backlog, 1)
        assert not backlog.low
        backlog.finished(1, ["3", "4"])
        assert backlog.low
        self.add(backlog, ("new", 1))
        assert not backlog.low
        assert Backlog(1, lambda: None).low

    def test_what_was_told_is_told_again_when_a_slot_has_nothing(self, backlog: Backlog):
        self.add(backlog, *((str(n), 1) for n in range(9)))
        self.take(backlog, 0)
        backlog.finished(0, ["0", "1", "2"])
        self.take(backlog, 0)
        backlog.finished(0, ["3", "4"])
        assert backlog.low
        backlog.told()
        assert not backlog.low
        self.take(backlog, 0)
        backlog.finished(0, ["5", "6"])
        assert backlog.low
        self.add(backlog, *((str(n), 1) for n in range(10, 19)))
        assert not backlog.low

    def test_wide_work_waits_for_idle_slots_and_is_not_overtaken(self, backlog: Backlog):
        self.add(backlog, ("a", 1), ("wide", 3), ("b", 1))
        assert self.take(backlog, 0, 1) == ["a"]
        assert self.take(backlog, 1) == []
        backlog.finished(0, ["a"])
        assert self.take(backlog, 1) == ["wide"]
        assert self.take(backlog, 0) == self.take(backlog, 2) == []
        backlog.finished(1, ["wide"])
        assert self.take(backlog, 2) == ["b"]

    def test_work_wider_than_the_executor_takes_it_whole(self, backlog: Backlog):
        self.add(backlog, ("wide", 99))
        assert self.take(backlog, 2) == ["wide"]

    def test_what_comes_back_goes_first(self, backlog: Backlog):
        self.add(backlog, *((str(n), 1) for n in range(6)))
        assert self.take(backlog, 0) == ["0", "1"]
        assert backlog.give_back(0, ["0", "1"]) == []
        assert self.take(backlog, 1) == ["0", "1"]

    def test_what_was_cancelled_meanwhile_does_not_come_back(self, backlog: Backlog):
        self.add(backlog, ("a", 1), ("b", 1))
        assert self.take(backlog, 0) == ["a"]
        waiting, held = backlog.cancel(["a", "b", "c", "b"])
        assert ([w.attempt for w in waiting], held) == (["b"], [(0, "a")])
        assert backlog.cancel(["b"]) == ([], [])
        back = backlog.give_back(0, ["a"])
        assert [w.attempt for w in back] == ["a"]
        assert self.take(backlog, 0) == []
        assert {r.attempt for r in backlog.snapshot("e", [], ())} == {"a", "b"}
        backlog.forget(waiting + back)
        assert backlog.settled(0)
