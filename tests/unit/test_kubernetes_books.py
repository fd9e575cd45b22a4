"""What is remembered of pods, and what is made of what was seen of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from executors.contract import Machine, MachineState
from executors.errors import Lost
from executors.kubernetes.books import Books, Entry
from executors.kubernetes.sightings import Sightings

BORN = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = BORN + timedelta(minutes=5)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "pods")


@pytest.fixture
def seen(books: Books) -> Sightings:
    return Sightings(books, "pool", timedelta(seconds=120))


def entry(executor: str) -> Entry:
    return Entry(Machine(executor, "a", "pool", MachineState.BOOTING, 2, BORN), f"farm-{executor}", "u-1")


def pod(executor: str, phase: str = "Running", **meta):
    labels = {"elastic-farm/executor": executor, "elastic-farm/order": "a"}
    common = {"name": f"farm-{executor}", "uid": "u-1", "labels": labels, "annotations": {"elastic-farm/slots": "2"}}
    return {
        "metadata": common | {"creationTimestamp": "2030-01-01T12:00:00Z"} | meta,
        "status": {"phase": phase},
    }


def test_an_end_is_written_once(books: Books):
    books.write(entry("a-1"))
    books.end(entry("a-1"), LATER, "", asked=True)
    again = books.end(books.find("a-1"), LATER + timedelta(minutes=1), "its pod was deleted")
    assert (again.machine.ended_at, again.machine.error) == (LATER, "")
    assert Books(books._folder).find("a-1") == again


def test_no_end_is_before_the_beginning(books: Books):
    assert books.end(entry("a-1"), BORN - timedelta(hours=1), "").machine.ended_at == BORN


def test_the_ended_are_listed_for_a_while_and_kept_for_longer(books: Books):
    books.end(entry("a-1"), LATER, "")
    assert [m.id for m in books.listed(LATER + timedelta(minutes=9))] == ["a-1"]
    assert books.listed(LATER + timedelta(minutes=11)) == []
    assert books.find("a-1") is not None
    books.listed(LATER + timedelta(hours=25))
    assert books.find("a-1") is None


def test_a_disk_that_takes_nothing_is_told(books: Books):
    books._folder.rmdir()
    with pytest.raises(Lost, match="books can't be written: No such file"):
        books.write(entry("a-1"))


def test_a_torn_page_is_no_machine(books: Books):
    books.write(entry("a-1"))
    (books._folder / "a-2.json").write_text('{"id": "a-2"')
    assert [e.machine.id for e in books.all()] == ["a-1"]


def test_a_pod_nobody_knew_is_taken_into_the_books(books: Books, seen: Sightings):
    assert seen.all([pod("a-1")], ()) == []
    (machine,) = books.listed(LATER)
    assert (machine.id, machine.order, machine.slots, machine.launched_at) == ("a-1", "a", 2, BORN)
    assert machine.state is MachineState.RUNNING


def test_who_is_not_listed_any_more_has_vanished(books: Books, seen: Sightings):
    seen.all([pod("a-1"), pod("a-2")], ())
    assert seen.await_gone(0) == []
    seen.all([pod("a-2")], books.living())
    assert seen.await_gone(0) == ["a-1"]
    assert seen.await_gone(0) == []
    assert books.find("a-1").machine.error == "its pod was deleted"


def test_who_was_made_after_the_question_has_not_vanished(books: Books, seen: Sightings):
    living = books.living()
    books.write(entry("a-1"))
    seen.all([], living)
    assert books.find("a-1").machine.ended_at is None


def test_what_was_said_of_it_last_is_why_it_vanished(books: Books, seen: Sightings):
    notice = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    warned = pod("a-1")
    warned["status"]["conditions"] = [notice]
    seen.one(warned)
    seen.deleted(pod("a-1"))
    assert books.find("a-1").machine.error == "a more important pod took its place"


def test_who_was_asked_to_go_has_not_vanished(books: Books, seen: Sightings):
    seen.one(pod("a-1"))
    books.end(books.find("a-1"), LATER, "", asked=True)
    seen.deleted(pod("a-1"))
    assert seen.await_gone(0) == []
    assert books.find("a-1").machine.error == ""


def test_a_pod_that_was_to_be_deleted_and_lives_is_deleted_again(books: Books, seen: Sightings):
    seen.one(pod("a-1"))
    books.end(books.find("a-1"), LATER, "", asked=True)
    assert [p["metadata"]["name"] for p in seen.all([pod("a-1")], ())] == ["farm-a-1"]
    assert seen.all([pod("a-1", deletionTimestamp="2030-01-01T12:06:00Z")], ()) == []


def test_a_pod_that_will_never_start_has_ended_and_is_deleted(books: Books, seen: Sightings):
    stuck = pod("a-1", "Pending")
    stuck["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "m"}}}]
    assert seen.one(stuck)
    assert books.find("a-1").machine.error == "its image is not on the node, and may not be pulled: m"
    assert seen.await_gone(0) == ["a-1"]


def test_closing_wakes_who_waits(seen: Sightings):
    seen.close()
    assert seen.await_gone(300) == []
