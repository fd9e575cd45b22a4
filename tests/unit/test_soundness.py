"""What a gateway reports in earnest is sound."""

from pathlib import Path

import pytest

from executors.contract import Event, EventKind
from executors.site.protocol import Report
from farm.api import soundness
from farm.mirror import _mirrored


def checked(event: Event) -> None:
    soundness.check(Report("s", events={"x-1": [event]}))


def test_the_second_task_of_a_spool_begins_where_the_first_has_ended() -> None:
    checked(Event(4, EventKind.STARTED, "1.2.1", token=7, at=1, spool="0-1", lo=13))


@pytest.mark.parametrize("kind", [EventKind.LOG, EventKind.FINISHED])
def test_output_does_not_end_before_it_begins(kind: EventKind) -> None:
    with pytest.raises(ValueError, match="range"):
        checked(Event(4, kind, "1.2.1", token=7, at=1, spool="0-1", lo=13))


def test_output_does_not_lie_where_no_file_reaches() -> None:
    with pytest.raises(ValueError, match="beyond"):
        checked(Event(4, EventKind.LOG, "1.2.1", spool="0-1", lo=1 << 50, hi=(1 << 50) + 1, data=b"x"))


def test_output_that_no_file_can_hold_is_left_out(tmp_path: Path) -> None:
    assert _mirrored(tmp_path / "0-1", Event(1, EventKind.LOG, lo=0, hi=3, data=b"abc"))
    assert not _mirrored(tmp_path / "0-1", Event(2, EventKind.LOG, lo=2**63 - 2, hi=2**63 + 1, data=b"abc"))
    assert (tmp_path / "0-1").read_bytes() == b"abc"
