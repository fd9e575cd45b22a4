"""A disk without room costs an executor nothing as long as it lives: events reach the farm all the same."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from executors.contract import EventKind
from executors.site.journal import Journal
from executors.site.spool import Spools


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of this process can't grow beyond `size`; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def end(attempt: str) -> dict[str, object]:
    return {"kind": EventKind.FINISHED, "attempt": attempt, "token": 1, "at": 5}


def test_events_on_a_full_disk_are_handed_on_and_written_later(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "events"), Spools(str(tmp_path / "spool")))
    journal.append([end("1.1.1")])
    (file,) = (tmp_path / "events").iterdir()
    with room_for(file.stat().st_size + 10):  # the next line goes in by a part
        journal.append([end("1.2.1")])
        journal.append([end("1.3.1")])
        assert journal.after(0, 0).last == 3
    journal.append([end("1.4.1")])
    journal.close()
    again = Journal(str(tmp_path / "events"), Spools(str(tmp_path / "spool")))
    assert [e.attempt for e in again.finished()] == ["1.1.1", "1.2.1", "1.3.1", "1.4.1"]
    again.close()
