"""The primary dies with its power and its standby is promoted while tasks run. The farm knows of both, and goes on."""

import signal
from collections.abc import Iterator

import pytest

from tests.journeys.relay import Relay, relay, until
from tests.postgres import USER, Postgres

SYNC = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary, and its standby, which has each change before it is acknowledged."""
    primary, standby = Postgres("shared_buffers=16MB"), Postgres("shared_buffers=16MB")
    try:
        primary.start()
        standby.follow(primary)
        standby.start()
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        until(lambda: primary.sql(SYNC), "it follows")
        yield primary, standby
    finally:
        primary.remove()
        standby.remove()


@pytest.fixture
def farm(pair: tuple[Postgres, Postgres]) -> Iterator[Relay]:
    primary, standby = pair
    hosts = f"host={primary.folder}&host={standby.folder}&target_session_attrs=read-write"
    with relay(f"postgresql://{USER}@/{primary.bare()}?{hosts}", running=4) as made:
        made.begin()
        yield made


def test_the_farm_goes_on_with_the_promoted_standby(farm: Relay, pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    farm.stand_by(farm.shell)
    leader, bought = farm.process(), farm.executors()
    primary.stop(signal.SIGKILL)
    farm.shell("jobs", status=3)
    assert "the database server" in farm.shell.err
    standby.sql("SELECT pg_promote()")
    last = farm.last()
    until(lambda: farm.handed_out(last), "more is handed out")
    assert leader.alive()
    assert (farm.process(), farm.term(), farm.executors()) == (leader, 1, bought)
    farm.finish()
