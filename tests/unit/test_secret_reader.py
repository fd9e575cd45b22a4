"""A secret that does not come holds up its own task, for a while, and nothing else."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

from executors.contract import Work
from executors.simulated import SimulatedOptions
from farm.config import FarmConfig
from farm.db import Database, migrate
from farm.queue.cancel import cancel
from farm.reference import parse_reference
from farm.secret import Unreadable
from farm.secret_reader import Handed, SecretReader
from tests.properties.simulated_farm import SimulatedFarm

SOON = 30  # seconds; nothing here takes so long


class Disk:
    """Answers when it is there; what was asked of it meanwhile waits."""

    def __init__(self) -> None:
        self.there = threading.Event()
        self.asked: Queue[str] = Queue()
        self.times = 0

    def __call__(self, reference: str) -> str:
        self.times += 1
        self.asked.put(reference)
        assert self.there.wait(SOON)
        if reference.endswith("gone"):
            raise Unreadable(f"{reference} can't be read")
        return f"value of {reference}"


def work(attempt: str, **secrets: str) -> Work:
    return Work(attempt, 1, 1, ("true",), secrets=secrets)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.there.set()


@pytest.fixture
def passed() -> Queue[Handed]:
    return Queue()


def test_works_are_passed_on_with_their_secrets(disk: Disk, passed: Queue[Handed]) -> None:
    reader = SecretReader(passed.put, disk)
    reader.hand({"e1": [work("1.1.1", A="file:/a", B="file:/b"), work("1.2.1", A="file:/gone")]})
    disk.there.set()
    (first, second) = passed.get(timeout=SOON)["e1"]
    assert (dict(first.secrets), first.unready) == ({"A": "value of file:/a", "B": "value of file:/b"}, "")
    assert (dict(second.secrets), second.unready) == ({}, "the secret file:/gone can't be read")
    reader.close()


def test_one_that_does_not_come_is_told_and_asked_by_one_thread_only(disk: Disk, passed: Queue[Handed]) -> None:
    reader = SecretReader(passed.put, disk, limit_s=0.05)
    for n in range(20):
        reader.hand({"e1": [work(f"1.{n}.1", A="file:/dead")]})
    handed = [passed.get(timeout=SOON)["e1"][0] for _ in range(20)]
    assert {w.unready for w in handed} == {
        "the secret file:/dead did not come within 0.05 s; its disk may be away",
    }
    assert not any(w.hopeless for w in handed)  # its disk may be back for the next try
    assert disk.times == 1
    reader.close()


def test_it_is_read_anew_for_every_work_once_the_disk_is_back(disk: Disk, passed: Queue[Handed]) -> None:
    reader = SecretReader(passed.put, disk)
    disk.there.set()
    for n in range(3):
        reader.hand({"e1": [work(f"1.{n}.1", A="file:/a")]})
        assert passed.get(timeout=SOON)["e1"][0].secrets
    assert disk.times == 3
    reader.close()


def test_a_reader_that_breaks_is_a_reason_too(passed: Queue[Handed]) -> None:
    def broken(_reference: str) -> str:
        raise MemoryError

    reader = SecretReader(passed.put, broken)
    reader.hand({"e1": [work("1.1.1", A="file:/a")]})
    assert "MemoryError" in passed.get(timeout=SOON)["e1"][0].unready
    reader.close()


# ── in a farm ──

CONFIG = FarmConfig.model_validate({"pools": {"cloud": {"provider": "simulated", "ceiling": 2, "boot": 5, "idle": 10}}})


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[..., SimulatedFarm]]:
    farms: list[SimulatedFarm] = []
    path = tmp_path / "farm.db"
    db = Database.file(path)
    migrate(db, "farm.db")
    db.close()

    def make(disk: Disk, limit_s: float = SOON) -> SimulatedFarm:
        copy = Path(shutil.copy(path, tmp_path / f"farm-{len(farms)}.db"))
        farm = SimulatedFarm(copy, CONFIG, SimulatedOptions(boot_s=5, ceiling=2))
        farm.started = Queue()  # type: ignore[attr-defined]

        def pass_on(works: Handed) -> None:
            farm.sites._start_late(works)
            farm.started.put(works)  # type: ignore[attr-defined]

        farm.sites._secrets = SecretReader(pass_on, disk, limit_s)
        farms.append(farm)
        return farm

    yield make
    for farm in farms:
        farm.sites.close()
        farm.db.close()


STEP = {"argv": ["x"], "secrets": {"KEY": "file:/key"}}


def claimed(farm: SimulatedFarm, disk: Disk) -> None:
    """Turn until the secret of the first job is being read."""
    while disk.asked.empty():
        farm.turn()


def test_nobody_waits_for_the_secret_of_another(new: Callable[..., SimulatedFarm], disk: Disk) -> None:
    farm = new(disk)
    job = farm.submit(STEP)
    claimed(farm, disk)
    other = farm.submit({"argv": ["x"]})
    while farm.job(other)["state"] != "done":  # writes, and ends, while the secret is still being read
        farm.turn()
    assert (farm.job(job)["state"], farm.gateway.running) == ("running", {})
    disk.there.set()
    farm.started.get(timeout=SOON)  # type: ignore[attr-defined]
    farm.gateway.talk()
    ((_, work, _),) = farm.gateway.running.values()
    assert dict(work.secrets) == {"KEY": "value of file:/key"}
    farm.run()
    assert farm.job(job)["state"] == "done"


def test_what_was_cancelled_meanwhile_does_not_begin(new: Callable[..., SimulatedFarm], disk: Disk) -> None:
    farm = new(disk)
    job = farm.submit(STEP)
    claimed(farm, disk)
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    disk.there.set()
    farm.started.get(timeout=SOON)  # type: ignore[attr-defined]
    farm.gateway.talk()
    assert farm.gateway.running == {}


def test_the_executor_is_told_why_it_does_not_begin(new: Callable[..., SimulatedFarm], disk: Disk) -> None:
    farm = new(disk, limit_s=0.05)
    farm.submit(STEP)
    claimed(farm, disk)
    farm.started.get(timeout=SOON)  # type: ignore[attr-defined]
    farm.gateway.talk()
    ((_, work, _),) = farm.gateway.running.values()
    assert (dict(work.secrets), "did not come within" in work.unready) == ({}, True)
