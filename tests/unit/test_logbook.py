"""Where the log of an attempt is, and what is said when some of it is not there."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.contract import Event, EventKind, Work
from farm.cli.logs import _Show
from farm.cli.output import raw
from farm.client import LogPart
from farm.clock import micros
from farm.db import Database, migrate
from farm.logbook import Part, part
from farm.model import StepSpec
from farm.queue import settle
from farm.reference import parse_reference
from tests.contract.queue_farm import QueueFarm


class Shelf(QueueFarm):
    """A queue with the mirrors of the spools of executor e1."""

    logs: Path

    def begin(self, lo: int = 0) -> Work:
        self.submit(StepSpec(argv=("true",)))
        (work,) = self.claim()
        at = micros(self.clock.now()) * 1000
        event = Event(1, EventKind.STARTED, work.attempt, work.token, at=at, spool="0-1", lo=lo)
        with self.db.write() as tx:
            settle.started(tx, [event])
        return work

    def ship(self, data: bytes) -> None:
        (self.logs / "e1").mkdir(exist_ok=True)
        with open(self.logs / "e1" / "0-1", "ab") as file:
            file.write(data)

    def lose(self) -> None:
        with self.db.write() as tx:
            settle.lose(tx, "e1", "it vanished", self.clock.now())

    def read(self, ref: str, offset: int = 0, **shipped: int) -> Part:
        with self.db.read() as tx:
            return part(tx, self.logs, parse_reference(ref), offset, {"1.1.1": shipped["to"]} if shipped else {})


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    db = Database.file(tmp_path / "farm.db")
    migrate(db, "farm.db")
    shelf = Shelf(db)
    shelf.logs = tmp_path / "logs"
    shelf.logs.mkdir()
    yield shelf
    db.close()


def test_one_that_has_not_begun_has_none_yet(shelf: Shelf) -> None:
    shelf.submit(StepSpec(argv=("true",)))
    assert shelf.read("1") == Part(b"", 0, False)
    shelf.claim()
    assert shelf.read("1") == Part(b"", 0, False)


def test_a_running_one_gives_what_has_come(shelf: Shelf) -> None:
    shelf.begin(lo=6)
    shelf.ship(b"other\nmine\nsomebody else's")
    assert shelf.read("1.1", to=11) == Part(b"mine\n", 5, False)
    assert shelf.read("1.1", 5, to=11) == Part(b"", 5, False)


def test_one_that_was_adopted_gives_what_had_come_before(shelf: Shelf) -> None:
    """A service that has just started knows nothing of what was shipped, but the file is there."""
    shelf.begin()
    shelf.ship(b"before\n")
    assert shelf.read("1.1.1") == Part(b"before\n", 7, False)


def test_a_finished_one_gives_its_range(shelf: Shelf) -> None:
    work = shelf.begin(lo=6)
    shelf.ship(b"other\nmine\nsomebody else's")
    shelf.finish([work], spool="0-1", lo=6, hi=11)
    assert shelf.read("1.1.1") == Part(b"mine\n", 5, True)
    assert shelf.read("1.1.1", 2) == Part(b"ne\n", 5, True)
    assert shelf.read("1.1.1", 1 << 40).data == b""


def test_a_lost_one_gives_what_had_come_and_says_so(shelf: Shelf) -> None:
    shelf.begin(lo=6)
    shelf.ship(b"other\nmine, so far\n")
    shelf.lose()
    found = shelf.read("1.1.1")
    assert (found.data, found.final) == (b"mine, so far\n", True)
    assert found.note == "attempt 1.1.1 was lost: this is what had come of its log by then"


def test_a_pruned_one_says_when(shelf: Shelf) -> None:
    work = shelf.begin()
    shelf.ship(b"mine\n")
    shelf.finish([work], spool="0-1", lo=0, hi=5)
    (shelf.logs / "e1" / "0-1").unlink()
    os.utime(shelf.logs / "e1", (1_790_000_000, 1_790_000_000))
    found = shelf.read("1.1.1")
    assert (found.data, found.final) == (b"", True)
    assert found.note == "the log of attempt 1.1.1 was pruned on 2026-09-21 at 14:13 UTC"
    (shelf.logs / "e1").rmdir()
    assert shelf.read("1.1.1").note == "the log of attempt 1.1.1 was pruned"


def test_one_that_wrote_nothing_was_not_pruned(shelf: Shelf) -> None:
    work = shelf.begin()
    shelf.finish([work], spool="0-1", lo=0, hi=0)
    assert shelf.read("1.1.1") == Part(b"", 0, True)


class Told:
    """A client that knows one log, which is not whole."""

    running = False

    def log(self, ref: str, offset: int, wait_s: float) -> LogPart:
        return LogPart(b"so far\n", 7, True, f"attempt {ref} was lost")


@pytest.mark.parametrize("follow", [False, True])
def test_what_a_log_lacks_goes_beside_it(capfdbinary: pytest.CaptureFixture[bytes], follow: bool) -> None:
    _Show(raw, json=False, follow=follow).log(Told(), "1.1")  # type: ignore[arg-type]
    assert capfdbinary.readouterr() == (b"so far\n", b"farm: attempt 1.1 was lost\n")
    _Show(raw, json=True, follow=follow).log(Told(), "1.1")  # type: ignore[arg-type]
    found = json.loads(capfdbinary.readouterr().out)
    assert found == {"ref": "1.1", "text": "so far\n", "final": True, "note": "attempt 1.1 was lost"}
