"""What a gateway reports in earnest is sound."""

import pytest

from executors.contract import Event, EventKind
from executors.site.protocol import Report
from farm.api import soundness


def checked(event: Event) -> None:
    soundness.check(Report("s", events={"x-1": [event]}))


def test_the_second_task_of_a_spool_begins_where_the_first_has_ended() -> None:
    checked(Event(4, EventKind.STARTED, "1.2.1", token=7, at=1, spool="0-1", lo=13))


@pytest.mark.parametrize("kind", [EventKind.LOG, EventKind.FINISHED])
def test_output_does_not_end_before_it_begins(kind: EventKind) -> None:
    with pytest.raises(ValueError, match="range"):
        checked(Event(4, kind, "1.2.1", token=7, at=1, spool="0-1", lo=13))
