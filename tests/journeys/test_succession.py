"""A farm outlives its leader: stopped, killed or frozen under fifty running tasks, on both databases."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from farm import tables as t
from farm.integrity import look
from tests.journeys.relay import Relay, relay, until
from tests.postgres import Postgres

SOON_S = 90  # on a machine that is busy with other tests; benchmarks/results/standby.json tells of a quiet one
STRIKES = (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP)


@pytest.fixture(params=["sqlite", "postgresql"])
def farm(request: pytest.FixtureRequest) -> Iterator[Relay]:
    url = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.fresh())
    with relay(url) as made:
        made.begin()
        yield made


@pytest.mark.timeout(600)  # it starts five services and waits for a frozen one, on a machine that may be busy
def test_the_next_one_leads_and_running_tasks_do_not_notice(farm: Relay) -> None:
    bought, terms = farm.executors(), [farm.term()]
    farm.stand_by(farm.shell, len(STRIKES) + 1)
    for how in STRIKES:
        before = farm.process()
        assert farm.strike(how) < SOON_S
        assert not before.alive()
        terms.append(farm.term())
    assert terms == [1, 2, 3, 4]
    assert farm.executors() == bought == 1
    farm.finish()
    assert len(farm.standbys()) == 1
    last = farm.process()
    farm.shell("down", "--terminate")
    assert not last.alive()
    assert farm.shell.json("status")["running"] is False  # the last one that stood by went with it


@pytest.fixture
def apart(postgres: Postgres) -> Iterator[Relay]:
    """A farm of two homes on one database. Each believes its own clock, and these are five minutes apart."""
    with relay(postgres.url(postgres.fresh()), running=2) as made:
        made.clock(made.shell, 150)
        made.begin()
        yield made


def test_a_frozen_leader_elsewhere_is_fenced_off_and_ends_when_it_thaws(apart: Relay) -> None:
    second = apart.twin("second")
    apart.clock(second, -150)
    apart.stand_by(second)
    old = apart.process()
    os.kill(old.pid, signal.SIGSTOP)
    until(lambda: apart.term() == 2, "the other one leads")
    apart.leading = second
    until(lambda: apart.leader().home == str(second.home), "it says so")
    assert second.json("status")["leader"]["home"] == str(second.home)
    bought = apart.executors()
    os.kill(old.pid, signal.SIGCONT)
    assert old.wait(SOON_S)
    assert apart.term() == 2
    assert apart.executors() == bought  # what it would have ordered
    assert "works on this database" not in (second.home / "service.log").read_text()
    second("cancel", str(apart.ticks))
    apart.gate.touch()
    second("wait", str(apart.job))
    assert second.json("show", str(apart.job))["tasks"]["done"] == apart.running
    assert not list(look(apart.books))
    with apart.books.read() as tx:
        times = tx.execute(select(t.Job.submitted, t.Attempt.claimed).join(t.Attempt, t.Attempt.job == t.Job.id)).all()
    latest = datetime.now(UTC) + timedelta(seconds=60)  # noqa: TID251 - what the machine's clock says
    assert all(latest - timedelta(minutes=10) < at < latest for row in times for at in row)


def test_a_home_of_another_farm_does_not_stand_by(apart: Relay) -> None:
    stranger = apart.settle("stranger")
    stranger("up", "--standby", status=3)
    assert "this is not the home of the farm that process" in stranger.err
    assert "share that home's folder" in stranger.err
