"""What is old goes, what is young, alive or billed stays; and nothing in the service's memory grows for ever."""

import os
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import func, insert, select

from executors.contract import Event, EventKind
from executors.site.protocol import Report
from farm import feed as feeds
from farm import mirror as mirror_of
from farm import prune as pruning
from farm import tables as t
from farm.clock import TurnedClock
from farm.config import BadConfig, FarmConfig, load
from farm.context import open_farm
from farm.db import Database, migrate
from farm.dispatch import STEPS, Dispatcher
from farm.feed import Feed
from farm.home import Home
from farm.prune import Housekeeper, prune
from farm.queue.progress import Changed
from farm.queue.settle import Settled
from farm.sites import Sites

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def farm(tmp_path):
    found = open_farm(Home(tmp_path / "home"), TurnedClock(NOW))
    yield found
    found.close()


def executor(farm, name, state, ended=None):
    row = {"id": name, "order": "o", "pool": "local", "site": "local", "state": state, "slots": 1, "price_nano": 0}
    row |= {"why": "", "ordered": NOW, "launched": NOW, "ended": ended, "billed_until": NOW}
    with farm.db.write() as tx:
        tx.execute(insert(t.Executor), row)


def spool(farm, name, age, size=10):
    path = farm.home.logs / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    at = (NOW - age).timestamp()
    os.utime(path, (at, at))
    return path


def decision(farm, age):
    with farm.db.write() as tx:
        tx.execute(insert(t.DecisionRow), {"at": NOW - age, "snapshot": {}, "decision": {}})


def refused(farm, age):
    with farm.db.write() as tx:
        tx.execute(insert(t.Refused), {"at": NOW - age, "executor": "e", "attempt": "1.1.1", "event": {}})


def rows(farm, table):
    with farm.db.read() as tx:
        return tx.execute(select(func.count()).select_from(table)).scalar_one()


def test_logs_of_executors_that_are_gone_for_long_go(farm):
    executor(farm, "old", "gone", NOW - 40 * DAY)
    executor(farm, "new", "gone", NOW - 3 * DAY)
    old, new, unknown = (
        spool(farm, "old/0-1", 40 * DAY),
        spool(farm, "new/0-1", 40 * DAY),
        spool(farm, "lost/0-1", 31 * DAY),
    )
    young = spool(farm, "lost/0-2", 29 * DAY)
    gone = prune(farm)
    assert (gone.logs, gone.log_bytes) == (2, 20)
    assert [p.exists() for p in (old, new, unknown, young)] == [False, True, False, True]


def test_of_an_executor_that_lives_the_spool_in_use_stays(farm):
    executor(farm, "e", "ready")
    paths = [spool(farm, f"e/{name}", 60 * DAY) for name in ("0-8", "0-9", "0-10", "1-1")]
    assert prune(farm).logs == 2
    assert [p.exists() for p in paths] == [False, False, True, True]


def test_a_dry_run_removes_nothing_and_says_the_same(farm):
    executor(farm, "old", "gone", NOW - 40 * DAY)
    spool(farm, "old/0-1", 40 * DAY, size=5000)
    left = farm.home.store / "incoming" / "broken"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    decision(farm, 91 * DAY)
    refused(farm, 91 * DAY)
    said = prune(farm, dry=True)
    assert (said.logs, said.log_bytes, said.decisions, said.refused, said.leftovers) == (1, 5000, 1, 1, 1)
    assert (rows(farm, t.DecisionRow), rows(farm, t.Refused), left.exists()) == (1, 1, True)
    assert prune(farm) == said
    assert (rows(farm, t.DecisionRow), rows(farm, t.Refused), left.exists()) == (0, 0, False)
    assert prune(farm) == pruning.Pruned()


def test_decisions_and_evidence_go_by_their_age(farm, monkeypatch):
    monkeypatch.setattr(pruning, "GROUP", 3)
    for days in range(20):
        decision(farm, days * 12 * DAY)
        refused(farm, days * 10 * DAY)
    gone = prune(farm)
    assert (gone.decisions, gone.refused) == (12, 10)
    assert (rows(farm, t.DecisionRow), rows(farm, t.Refused)) == (8, 10)


def test_an_empty_folder_goes_as_long_again_after_its_logs(farm):
    executor(farm, "old", "gone", NOW - 40 * DAY)
    path = spool(farm, "old/0-1", 40 * DAY)
    prune(farm)
    assert path.parent.exists()
    os.utime(path.parent, ((NOW - 31 * DAY).timestamp(),) * 2)
    prune(farm)
    assert not path.parent.exists()


def test_settings_say_how_long(tmp_path):
    path = tmp_path / "farm.toml"
    path.write_text('[keep]\nlogs = "2d"\ndecisions = "1h"\n')
    keep = load(path).keep
    assert (keep.logs, keep.decisions, keep.refused) == (2 * DAY, timedelta(hours=1), 90 * DAY)
    for wrong in ('logs = "0s"', 'logs = "soon"', 'log = "2d"'):
        path.write_text(f"[keep]\n{wrong}\n")
        with pytest.raises(BadConfig, match="line 2"):
            load(path)


def test_two_who_prune_at_once_count_each_log_once(farm):
    for n in range(400):
        spool(farm, f"lost-{n % 20}/{n % 4}-{n}", 40 * DAY)
    together, found, went_wrong = threading.Barrier(3), [], []

    def go():
        together.wait(30)
        try:
            found.append(prune(farm).logs)
        except Exception as error:
            went_wrong.append(error)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (went_wrong, sum(found)) == ([], 400)


def test_what_goes_while_it_is_looked_at_is_passed_over(farm):
    paths = [spool(farm, f"lost-{n}/0-{k}", 40 * DAY) for n in range(3) for k in range(3)]
    looking = pruning.old_logs(farm, NOW - 30 * DAY)
    assert next(looking) == paths[0]
    for path in paths:
        path.unlink()
    paths[-1].parent.rmdir()
    assert list(looking) == []


def test_the_service_prunes_once_a_day(farm):
    keeper = Housekeeper(farm)
    decision(farm, 91 * DAY)
    assert keeper.look().decisions == 1
    decision(farm, 91 * DAY)
    farm.clock.turn(23 * 3600)
    assert Housekeeper(farm).look() is None  # also after a restart
    farm.clock.turn(3600)
    assert keeper.look().decisions == 1
    keeper.start()
    keeper.stop()


# What is held in memory


def test_the_feed_remembers_so_many_jobs(monkeypatch):
    monkeypatch.setattr(feeds, "MOST", 5)
    feed = Feed()
    for job in range(100):
        feed.publish(Changed(jobs={job}, ended={job}))
        feed.logged(job)
    assert [len(held) for held in (feed._count, feed._logs, feed._ended)] == [5, 5, 5]
    assert feed.wait_ended(99, 0)


def test_a_forgotten_job_that_moves_again_wakes_who_waits(monkeypatch):
    monkeypatch.setattr(feeds, "MOST", 2)
    feed = Feed()
    feed.publish(Changed(jobs={1}))
    mark = feed.mark(1)
    for other in (2, 3, 4):
        feed.publish(Changed(jobs={other}))
    feed.publish(Changed(jobs={1}))
    assert feed.wait(1, mark, 0)


def test_waiters_that_never_come_again_are_forgotten(monkeypatch):
    moment = SimpleNamespace(now=0.0)
    monkeypatch.setattr(feeds.time, "monotonic", lambda: moment.now)
    feed = Feed()
    for _ in range(100):
        with feed.waiter(lambda: False):
            pass
        moment.now += feeds.STAYS_S + 1
    assert len(feed._present) <= 2


def test_logs_of_lost_attempts_are_not_followed_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror_of, "SHIPPED", 10)
    db = Database.file(tmp_path / "farm.db")
    migrate(db, "farm.db")
    (tmp_path / "logs").mkdir()
    dispatcher = Dispatcher(FarmConfig().all_lanes(), 1)
    sites = Sites(db, TurnedClock(NOW), dispatcher, tmp_path / "logs", Feed(), lambda: None, 60)
    with db.write() as tx:
        row = {"job": 7, "number": 1, "ordinal": 1, "executor": "e", "token": 1, "slots": 1, "state": "started"}
        tx.execute(insert(t.Attempt), {**row, "claimed": NOW})
    events = [
        Event(n + 1, EventKind.LOG, f"{7 if n == 0 else 8}.{n + 1}.1", spool="0-1", lo=n, hi=n + 1, data=b"x")
        for n in range(300)
    ]
    sites.sync(Report("s", 1, 0, snapshot=()))
    sites.sync(Report("s", 1, 0, events={"e": events}))
    assert len(sites.shipped) <= 11
    assert "7.1.1" in sites.shipped
    db.close()


def test_the_lengths_of_cancelled_jobs_are_not_kept_for_ever():
    dispatcher = Dispatcher({}, 1)
    for job in range(3 * STEPS):
        dispatcher.learn(Settled(seconds={(job, 0): [1.0]}))
    assert len(dispatcher._mean_s) == STEPS
    assert (3 * STEPS - 1, 0) in dispatcher._mean_s


def ended(farm, age):
    """A job of one task."""
    job = {"kind": "command", "name": "x", "owner": "ada", "project": "", "lane": "default", "priority": 0, "extra": {}}
    with farm.db.write() as tx:
        job |= {"state": "cancelled", "submitted": NOW - age, "finished": NOW - age, "total": 0}
        return tx.execute(insert(t.Job).returning(t.Job.id), job).scalar_one()


def test_jobs_go_only_where_it_is_said_after_how_long(farm):
    ended(farm, 400 * DAY)
    ended(farm, 30 * DAY)
    assert (prune(farm).jobs, rows(farm, t.Job)) == (0, 2)
    farm.config = FarmConfig.model_validate({"keep": {"jobs": "90d"}})
    assert (prune(farm, dry=True).jobs, rows(farm, t.Job)) == (1, 2)
    assert (prune(farm).jobs, rows(farm, t.Job)) == (1, 1)
