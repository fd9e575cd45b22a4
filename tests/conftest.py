"""What holds for every test."""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.database_url import only_in_home
from farm.db import Database, migrate
from tests.postgres import FAST, Postgres

COUNT, ON_POSTGRES = 5, 2  # runs of the campaign in tests/chaos

# A child of a shell's background job ignores Ctrl-C for ever, and so do its children; ours must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Fresh seeds, before the processes that share the work inherit them. Even ones run without Ray."""
    fresh: list[object] = [2 * random.randrange(10**8) + number % 2 for number in range(COUNT)]
    fresh[-ON_POSTGRES:] = [f"postgresql:{seed}" for seed in fresh[-ON_POSTGRES:]]
    only_in_home()
    os.environ.setdefault("FARM_SEEDS", ",".join(map(str, fresh)))


def seeds(kind: str) -> list[int]:
    """Those of the campaign on databases of that kind."""
    named = (one.rpartition(":") for one in os.environ["FARM_SEEDS"].split(","))
    return [int(number) for database, _, number in named if (database or "sqlite") == kind]


def pytest_report_header() -> str:
    return f"to have the same runs of the campaign again: FARM_SEEDS={os.environ['FARM_SEEDS']}"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database, made once; to be copied."""
    path = tmp_path_factory.mktemp("empty") / "farm.db"
    db = Database.file(path)
    migrate(db, "farm.db")
    db.close()
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server; started by the first test that asks for it."""
    server = Postgres(*FAST)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def reused(postgres: Postgres) -> str:
    """The one database that tests of rows share; `emptied` for each."""
    return postgres.fresh()


@pytest.fixture(scope="session")
def served(postgres: Postgres, reused: str) -> Database:
    """Connections to it; kept, because statements that were compiled once are."""
    return Database.url(postgres.url(reused))


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> Iterator[Database]:
    """An empty database with the newest schema: what holds on one kind has to hold on the other."""
    if request.param == "sqlite":
        made = Database.file(Path(shutil.copy(empty, tmp_path / "farm.db")))
    else:
        server: Postgres = request.getfixturevalue("postgres")
        made = request.getfixturevalue("served")
        server.emptied(request.getfixturevalue("reused"))
    yield made
    made.close()
