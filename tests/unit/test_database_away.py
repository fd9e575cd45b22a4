"""The database is away for a moment: threads of the service live on, and what they had to do is done later."""

import errno
import json
from dataclasses import dataclass

import pytest
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from farm import publisher, rebuilds
from farm.db import Superseded
from farm.hooks import read_spool, spool
from farm.porter import Porter
from farm.rebuilds import take_spooled
from farm.running import RunningService
from tests.unit.test_packages_order import MAIN, NOTHING, Yard

AWAY = [
    OperationalError("SELECT 1", {}, Exception("the connection was cut")),
    InternalError("UPDATE x", {}, Exception("cannot execute UPDATE in a read-only transaction")),
    NoConnection("QueuePool limit"),
]


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    yield made
    made.close()


@dataclass
class Failing:
    """Raises these, one a call, before it does what it should."""

    act: object
    errors: list

    def __call__(self, *words):
        if self.errors:
            raise self.errors.pop(0)
        return self.act(*words)


def test_results_that_could_not_be_published_are_published_later(yard, monkeypatch):
    monkeypatch.setattr(publisher, "AGAIN_S", 0.01)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(yard.publisher, "publish", Failing(yard.publisher.publish, [*AWAY, full]))
    yard.end(yard.push(base="1", leaf="1")["id"], base="1", leaf="1")
    assert yard.agrees(base="1", leaf="1")


def test_a_defect_does_not_keep_others_from_being_published(yard, monkeypatch):
    monkeypatch.setattr(yard.publisher, "publish", Failing(yard.publisher.publish, [ValueError("a defect")]))
    job = yard.push(base="1", leaf="1")["id"]
    yard.end(job, base="1")
    yard.end(job, leaf="1")
    assert yard.agrees(base="1", leaf="1")


def test_one_that_never_can_be_published_holds_up_none_that_could_not_just_now(yard, monkeypatch):
    monkeypatch.setattr(publisher, "AGAIN_S", 0.01)
    publish, away = yard.publisher.publish, []
    bad = yard.push(base="1", leaf="1")["id"]

    def sometimes(job):
        if job == bad:
            raise ValueError("a defect")
        if away:
            raise away.pop()
        publish(job)

    monkeypatch.setattr(yard.publisher, "publish", sometimes)
    yard.end(bad, base="1", leaf="1")
    good = yard.push(base="2", leaf="2")["id"]
    assert yard.farm.published(60)
    away.append(AWAY[0])
    yard.end(good, base="2", leaf="2")
    assert yard.agrees(base="2", leaf="2")


@pytest.mark.parametrize("error", [*AWAY, Superseded("farm.db")], ids=lambda error: type(error).__name__)
def test_a_push_that_was_written_down_waits_for_the_database(yard, monkeypatch, error):
    told = {"repository": str(yard.work / ".git"), "ref": MAIN, "old": NOTHING, "new": yard.commit(base="1", leaf="1")}
    spool(yard.farm.home).mkdir(parents=True, exist_ok=True)
    (spool(yard.farm.home) / "1.json").write_text(json.dumps(told))
    with monkeypatch.context() as away:
        away.setattr(rebuilds, "pushed", Failing(rebuilds.pushed, [error]))
        take_spooled(yard.farm)
    assert len(read_spool(yard.farm.home)) == 1
    take_spooled(yard.farm)
    assert read_spool(yard.farm.home) == []


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_farm_that_drains_goes_down_when_it_is_idle_all_the_same(yard, monkeypatch, error):
    service = RunningService.__new__(RunningService)
    service.farm = yard.farm
    monkeypatch.setattr(yard.farm.db, "read", Failing(yard.farm.db.read, [error]))
    assert service._alive()
    assert not service._alive()


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_one_that_is_to_drain_while_its_database_is_away_drains_when_it_is_back(yard, monkeypatch, error):
    service = RunningService.__new__(RunningService)
    service.farm = yard.farm
    monkeypatch.setattr(yard.farm.db, "write", Failing(yard.farm.db.write, [error]))
    assert not service._all_drain()
    assert service._all_drain()


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_the_porter_comes_again(yard, monkeypatch, error):
    monkeypatch.setattr(yard.farm.tokens, "write_used", Failing(yard.farm.tokens.write_used, [error]))
    porter = Porter(yard.farm)
    porter.turn()
    porter.turn()
