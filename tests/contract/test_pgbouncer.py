"""Through a real PgBouncer: what works in which mode, and what is said where it can't."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm import postgres as pg
from farm.db import BadDatabase, Database
from farm.home import Taken
from farm.model import StepSpec
from farm.watch import Watch
from tests.bouncer import Bouncer
from tests.contract.beside import beside, ended, job
from tests.contract.queue_farm import QueueFarm
from tests.journeys.test_postgres_farm import settle
from tests.postgres import Postgres

PATIENCE_S = 60


@dataclass
class Way:
    """To one database: through the PgBouncer, and past it."""

    bouncer: Bouncer
    server: Postgres
    name: str

    @property
    def through(self) -> Database:
        return Database.url(self.bouncer.url(self.name))

    @property
    def past(self) -> Database:
        return Database.url(self.server.url(self.name))


def way(server: Postgres, mode: str) -> Iterator[Way]:
    name = server.fresh()
    bouncer = Bouncer(server, mode)
    try:
        yield Way(bouncer.answers(name), server, name)
    finally:
        bouncer.remove()


@pytest.fixture(scope="module")
def transactions(postgres: Postgres) -> Iterator[Way]:
    yield from way(postgres, "transaction")


@pytest.fixture(scope="module")
def sessions(postgres: Postgres) -> Iterator[Way]:
    yield from way(postgres, "session")


def test_it_is_noticed(transactions: Way) -> None:
    for url, there in ((transactions.bouncer.url, True), (transactions.server.url, False)):
        with closing(Database.url(url(transactions.name))) as db, pg.alone(db.engine) as connection:
            assert pg.pooled(connection) is there


@pytest.mark.parametrize("mode", ["transactions", "sessions"])
def test_commands_work_in_both_modes(mode: str, request: pytest.FixtureRequest) -> None:
    """Side by side, and each statement more often than it takes for one to be prepared."""
    with closing(request.getfixturevalue(mode).through) as db:

        def work(_: int) -> list[str]:
            farm = QueueFarm(db)
            jobs = [farm.submit(StepSpec(argv=("true",))) for _ in range(10)]
            return [farm.state(one) for one in jobs]

        with ThreadPoolExecutor(4) as pool:
            assert [state for found in pool.map(work, range(4)) for state in found] == ["queued"] * 40


def test_who_leads_says_what_it_lacks_and_leaves_no_lock_behind(transactions: Way) -> None:
    with closing(transactions.through) as db:
        watch = Watch(db)
        with pytest.raises(BadDatabase) as caught:
            watch.start()
        assert "another session for each transaction" in caught.value.what
        assert "pool_mode = session" in caught.value.remedy
    with closing(transactions.past) as db:
        watch = Watch(db)
        watch.start()  # nobody else has the database
        watch.stop()


def test_in_session_mode_one_service_has_the_database_and_is_woken(sessions: Way) -> None:
    with closing(sessions.through) as db, closing(sessions.past) as other:
        watch, woken = Watch(db), threading.Event()
        watch.woken = woken.set
        watch.start()
        with pytest.raises(Taken):
            Watch(other).start()
        with other.write():
            pass
        assert woken.wait(PATIENCE_S)
        watch.stop()


def test_a_farm_and_one_that_serves_beside_it_work_in_session_mode(sessions: Way, postgres: Postgres) -> None:
    with beside(sessions.bouncer.url(postgres.fresh())) as farm, farm.client(farm.others()[0]) as other:
        assert ended(other, other.submit("/v1/jobs", job("one", "true"))["id"])["state"] == "done"


def test_in_transaction_mode_a_farm_does_not_come_up_and_takes_jobs_all_the_same(
    transactions: Way, tmp_path: Path
) -> None:
    shell = settle(tmp_path, transactions.bouncer.url(transactions.name), "home")
    for options in ([], ["--standby"], ["--api"]):
        shell("up", *options, status=3)
        assert "pool_mode = session" in shell.err
    number = shell("submit", "--", "true").split()[1]
    assert shell.json("show", number)["state"] == "queued"
