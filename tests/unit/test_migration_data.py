"""A database of an older farm goes on as it was: what is new in it is filled from what is there."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text

from farm import tables as t
from farm.config import FarmConfig
from farm.db import Database, migrate
from farm.queue.claim import Claim
from farm.queue.room import Room
from tests.postgres import Postgres

JOB = """INSERT INTO job (id, kind, name, owner, project, lane, priority, state, why, extra, submitted, changes, total,
    done, failed, cancelled, skipped, running)
    VALUES (1, 'command', 'old', 'ada', '', 'bulk', 0, 'running', '', '{}', 1, 0, 5, 0, 0, 0, 0, 1)"""
STEP = """INSERT INTO step (job, ordinal, name, state, waits, "left", bad, first_number, total, next, "array", chunk,
    "order", template, slots, memory, retries, timeout_s, predicted_s, due)
    VALUES (1, 0, 'main', 'ready', 0, 5, 0, 1, 5, 2, '{"first": 1, "last": 5, "step": 1}', 1,
    'linear', '{"argv": ["true"]}', 2, 0, 0, 0, 10, 1)"""
TASK = """INSERT INTO task (job, number, step, position, name, state, waits, due, attempts, failures, losses, cause,
    message, cpu_ms, rss_kib, changed) VALUES (1, {0}, 0, {0} - 1, '{0}', '{1}', 0, 1, 1, 0, 0, '', '', 0, 0, 0)"""
ATTEMPT = """INSERT INTO attempt (job, number, ordinal, executor, token, slots, state, claimed, cause, message, cpu_ms,
    rss_kib, spool, lo, hi) VALUES (1, 1, 1, 'e1', 7, 2, 'claimed', 1, '', '', 0, 0, '', 0, 0)"""


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database.file(tmp_path / "farm.db")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        made = Database.url(server.url(server.bare()))
    yield made
    made.close()


def test_what_waited_in_the_first_schema_is_still_handed_out(bare: Database) -> None:
    db = bare
    config = Config()
    config.set_main_option("script_location", "farm:migrations")
    config.set_main_option("path_separator", "os")
    with db.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (JOB, STEP, TASK.format(1, "running"), TASK.format(2, "ready"), ATTEMPT):
            connection.execute(text(statement.replace(":", r"\:")))
    migrate(db, "farm.db")
    with db.read() as tx:
        task = tx.execute(select(t.Task).where(t.Task.number == 2)).one()
        assert (task.lane, task.owner, task.slots, task.memory, task.failed_on) == ("bulk", "ada", 2, 0, None)
        assert tx.execute(select(t.Step.lane)).scalar_one() == "bulk"
    now = datetime(2026, 6, 1, tzinfo=UTC)
    with db.write() as tx:
        works = Claim(tx, FarmConfig().all_lanes(), 1, now).fill([Room("e2", 8, 0)], {})
    assert [w.attempt for w in works["e2"]] == ["1.2.2", "1.3.1", "1.4.1", "1.5.1"]
