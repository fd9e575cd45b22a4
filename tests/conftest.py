"""What holds for every test."""

import os
import random
import signal
from pathlib import Path

import pytest

from farm.db import Database, migrate

COUNT = 5  # runs of the campaign in tests/chaos

# A child of a shell's background job ignores Ctrl-C for ever, and so do its children; ours must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Fresh seeds, before the processes that share the work inherit them. Even ones run without Ray."""
    fresh = [2 * random.randrange(10**8) + number % 2 for number in range(COUNT)]
    os.environ.setdefault("FARM_SEEDS", ",".join(map(str, fresh)))


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
