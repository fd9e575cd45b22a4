"""What a gateway of an executor elsewhere does beyond that beside the farm: it tells its clock, and takes leave."""

import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from executors.contract import Event, EventKind
from executors.packed import Events
from executors.site.channel import Channel
from executors.site.conversation import Conversation
from tests.unit.sync_farm import TOKEN, Farm
from tests.unit.test_gateway import Site


class OlderFarm(Farm):
    """Speaks the protocol before ours."""

    def _heard(self, report):
        return replace(super()._heard(report), protocol=1)


@pytest.fixture(params=[Farm])
def farm(request):
    folder = Path(tempfile.mkdtemp(prefix="farm-t"))
    (folder / "token").write_text(TOKEN)
    farm = request.param(folder / "s").open()
    farm.folder = folder
    yield farm
    farm.close()
    shutil.rmtree(folder)


@pytest.fixture
def site():
    return Site()


@pytest.fixture
def conversation(farm, site):
    channel = lambda wait: Channel(farm.path, farm.folder / "token", "local", wait)  # noqa: E731
    talk = Conversation(site, channel, threading.Event().set, threading.Event().set)
    talk.start()
    farm.until(lambda: farm.snapshots)
    yield talk
    talk.close()
    with farm.changed:
        farm.refuse = True
        farm.changed.notify_all()
    site.close()


def ended(seq):
    return Event(seq, EventKind.FINISHED, f"1.{seq}.1", 5, at=9)


def told(farm):
    return [r for r in farm.reports if r.events]


def test_events_come_with_the_clock_they_are_timed_by(farm, site, conversation):
    site.feed.put("e1", Events.of([ended(1)]))
    farm.until(lambda: farm.events)
    assert abs(told(farm)[-1].now - time.time_ns()) < 60e9
    assert all(r.now == 0 for r in farm.reports if not r.events)


@pytest.mark.parametrize("farm", [OlderFarm], indirect=True)
def test_an_older_farm_is_not_told_of_it(farm, site, conversation):
    site.feed.put("e1", Events.of([ended(1)]))
    farm.until(lambda: farm.events)
    assert told(farm)[-1].now == 0


@pytest.mark.parametrize("farm", [OlderFarm], indirect=True)
def test_nor_that_it_leaves(farm, site, conversation):
    assert not conversation.leave(0.1)
    site.feed.put("e1", Events.of([ended(1)]))
    assert conversation.gone(["e1"], 30)
    assert farm.events
    assert not any(r.leaving for r in farm.reports)
    assert [r.lost for r in farm.reports if r.lost] == [("e1",)]


def test_it_takes_leave_once_the_farm_has_heard_all(farm, site, conversation):
    farm.refuse = True
    site.feed.put("e1", Events.of([ended(1), ended(2)]))
    site.gone.append("e1")
    assert not conversation.finish(1)
    farm.refuse = False
    assert conversation.finish(30)
    assert [e.seq for e in farm.events] == [1, 2]
    assert any("e1" in r.lost for r in farm.reports)


def test_with_nothing_to_tell_it_leaves_at_once(conversation):
    assert conversation.finish(30)


def test_it_says_that_it_goes_before_it_ends_anything_and_then_that_it_is_gone(farm, conversation):
    assert conversation.leave(30)
    assert farm.reports[-1].leaving
    assert conversation.gone(["e1"], 30)
    assert [r.lost for r in farm.reports if r.lost] == [("e1",)]
