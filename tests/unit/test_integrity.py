"""The database check is silent about a sound database, and finds each kind of damage that it has a rule for."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.db import BadDatabase, Database
from farm.integrity import MOST, examine
from farm.integrity_rules import RULES
from tests.unit.worked_farm import work


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work(tmp_path_factory.mktemp("farm") / "farm.db")


@pytest.fixture
def damaged(worked: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "farm.db"
    shutil.copy(worked, path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys=OFF")
    yield connection
    connection.close()


def found(tmp_path: Path) -> list[str]:
    return [f"{f.rule}: {f.what}" for f in examine(tmp_path / "farm.db")]


def test_a_sound_database_has_no_findings(worked: Path) -> None:
    assert list(examine(worked)) == []


ENDING = """INSERT INTO ending (job, number, ordinal, executor, token, since, asked)
    SELECT job, number, ordinal, executor, token, 1, 1 FROM attempt WHERE job = 3"""
DAMAGE = {
    "UPDATE job SET state = 'odd' WHERE id = 1": "job 1 is in a state that does not exist: odd",
    "UPDATE step SET state = 'odd' WHERE job = 1": "step 1, step 0 is in a state",
    "UPDATE task SET state = 'odd' WHERE job = 1 AND number = 1": "task 1.1 is in a state",
    "UPDATE attempt SET state = 'odd' WHERE job = 1 AND number = 1": "attempt 1.1.1 is in a state",
    "UPDATE \"order\" SET state = 'odd'": "order",
    "UPDATE executor SET state = 'odd'": "executor",
    "DELETE FROM job WHERE id = 1": "step 0 belongs to job 1, which is not there",
    "DELETE FROM step WHERE job = 1": "task 1.1 belongs to a step that is not there",
    "DELETE FROM task WHERE job = 1 AND number = 2": "attempt 1.2.1 belongs to a task that is not there",
    "DELETE FROM executor": "which is not there",
    "DELETE FROM task WHERE job = 3 AND number = 1": "task 3.2 waits for 3.1, and one of them is not there",
    "DELETE FROM job WHERE id = 3": "job 4 waits for job 3, and one of them is not there",
    'DELETE FROM "order"': "was bought by order",
    "UPDATE ledger SET executor = 'nobody' WHERE id = 1": "ledger row 1 is about executor nobody",
    "UPDATE ledger SET job = 99 WHERE id = 1": "ledger row 1 is for job 99",
    "UPDATE executor SET job = 99": "is for job 99",
    "UPDATE job SET done = 4 WHERE id = 1": "job 1 counts 0 running, 4 done",
    "UPDATE job SET total = 6 WHERE id = 1": "job 1 has 6 tasks, its steps have 5",
    'UPDATE step SET "left" = 1 WHERE job = 1': "says that 1 tasks are left, it should be 0",
    "UPDATE step SET bad = 7 WHERE job = 2 AND ordinal = 1": "7 tasks ended badly, it should be 3",
    "UPDATE step SET next = 2 WHERE job = 1": "has handed out 2 tasks and 0 were cancelled before, 5 are there",
    "UPDATE task SET attempts = 3 WHERE job = 1 AND number = 1": "task 1.1 counts 3 attempts, there are 1",
    "UPDATE step SET waits = 1 WHERE job = 1": "is ended and waits for 1 steps and jobs",
    "UPDATE task SET waits = 5 WHERE job = 3 AND number = 2": "task 3.2 waits for 5 tasks, it should be 1",
    "UPDATE job SET state = 'cancelled' WHERE id = 1": "job 1 is cancelled, and by its tasks it should be done",
    "UPDATE job SET state = 'queued' WHERE id = 3": "job 3 is queued and has 1 tasks running",
    "UPDATE step SET state = 'ready' WHERE job = 1": "is ready with 0 tasks left",
    "UPDATE step SET state = 'blocked', waits = 1 WHERE job = 3": "task 3.1 is running though its step is blocked",
    "UPDATE task SET waits = 0 WHERE job = 3 AND number = 2": "task 3.2 is blocked though it waits for nothing",
    "UPDATE task SET held = 1 WHERE job = 3 AND number = 2": "task 3.2 is marked held while its job is running",
    "UPDATE step SET held = 1 WHERE job = 4": "step 4, step 0 is marked held while its job is queued",
    "UPDATE job SET state = 'held' WHERE id = 4": "job 4 is held, and nobody held it",
    "UPDATE hold SET act = 99": "lane bulk is held by act 99, which is not there",
    "UPDATE hold SET kind = 'job'": "job bulk is held by act 1, which is not there or is about something else",
    "UPDATE task SET lane = 'odd' WHERE job = 3 AND number = 2": "task 3.2 waits in lane odd, its job is in",
    "UPDATE job SET finished = NULL WHERE id = 1": "job 1 is done, its end is None",
    "UPDATE attempt SET finished = NULL WHERE job = 1 AND number = 1": "attempt 1.1.1 is succeeded, its end is None",
    "UPDATE executor SET ended = NULL": "its end is None",
    "UPDATE executor SET ready = NULL": "is ready and was never ready",
    "UPDATE attempt SET state = 'lost', finished = 1 WHERE job = 3": "task 3.1 is running and has 0 attempts under way",
    "UPDATE task SET accepted = 4 WHERE job = 1 AND number = 1": "attempt 4 of it was accepted, which did not",
    "UPDATE task SET accepted = NULL WHERE job = 1 AND number = 1": "task 1.1 is done and attempt None",
    "UPDATE attempt SET state = 'succeeded' WHERE job = 2": "task 2.1 is failed and 1 attempts of it succeeded",
    "UPDATE executor SET state = 'lost', ended = 1": "attempt 3.1.1 is claimed on executor",
    ENDING: "attempt 3.1.1 is claimed, and what it has is kept as if it had ended",
    "UPDATE executor SET idle_since = 1": "is idle since 1 and has attempts under way",
    "UPDATE ledger SET cost_nano = cost_nano + 1 WHERE id = 1": "differs by -1 nano-units",
    "UPDATE ledger SET micros = micros - 1 WHERE id = 1": "µs of a stretch of",
    "DELETE FROM ledger WHERE id = 2": "ledger",
    "UPDATE executor SET billed_until = billed_until + 1": "it should be",
    "UPDATE executor SET launched = launched - 1": "begins 1 µs after its launch",
    "UPDATE executor SET ended = ended - 5 WHERE closed": "is complete and 5 µs longer than its life",
    "UPDATE alembic_version SET version_num = '0000'": "the schema is 0000",
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.items())
def test_damage_is_found(damaged: sqlite3.Connection, tmp_path: Path, damage: str, words: str) -> None:
    assert damaged.execute(damage).rowcount
    damaged.commit()
    assert any(words in said for said in found(tmp_path)), found(tmp_path)


def test_every_rule_has_a_damage_that_breaks_it(damaged: sqlite3.Connection, tmp_path: Path) -> None:
    broken = set()
    for damage in DAMAGE:
        damaged.execute("BEGIN")
        damaged.execute(damage)
        for rule in RULES:
            if damaged.execute(rule.query).fetchone():
                broken.add(rule.says)
        damaged.rollback()
    assert {rule.says for rule in RULES} == broken


def test_findings_of_one_kind_are_not_told_without_end(damaged: sqlite3.Connection, tmp_path: Path) -> None:
    damaged.execute("DELETE FROM attempt")
    damaged.executemany(
        "INSERT INTO task_edge (job, number, before) VALUES (77, ?, 1)", [(n,) for n in range(2, MOST + 9)]
    )
    damaged.commit()
    said = [one for one in found(tmp_path) if "77." in one or "more than" in one]
    assert len(said) == MOST + 1
    assert "more than 20" in said[-1]


def test_outputs_that_the_store_has_not_are_named(damaged: sqlite3.Connection, tmp_path: Path) -> None:
    outputs = '[{"path": "out.txt", "digest": "ab", "size": 1}]'
    damaged.execute("UPDATE task SET outputs = ? WHERE job = 1 AND number = 1", (outputs,))
    damaged.commit()
    assert [f.what for f in examine(tmp_path / "farm.db", lambda _digest: True)] == []
    (missing,) = examine(tmp_path / "farm.db", lambda digest: digest != "ab")
    assert missing.what == "out.txt, an output of task 1.1, is not in the store"


def test_a_damaged_page_is_told(worked: Path, tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    data = bytearray(worked.read_bytes())
    data[8192 : 8192 + 4096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(BadDatabase, match="damaged"):
        list(examine(path))


def test_another_programs_database_is_told(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "farm.db") as connection:
        connection.executescript("CREATE TABLE alembic_version (version_num); CREATE TABLE job (id)")
    connection.close()
    with pytest.raises(BadDatabase, match="another program"):
        found(tmp_path)


def test_a_newer_schema_is_told(damaged: sqlite3.Connection, tmp_path: Path) -> None:
    damaged.execute("UPDATE alembic_version SET version_num = '9999'")
    damaged.execute("UPDATE meta SET value = '9998' WHERE key = 'floor'")
    damaged.commit()
    with pytest.raises(BadDatabase, match="newer"):
        found(tmp_path)


def test_it_looks_beside_a_writer(worked: Path, tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    shutil.copy(worked, path)
    database = Database.file(path)
    with database.write() as tx:
        tx.exec_driver_sql("UPDATE job SET done = 77")
        assert found(tmp_path) == []
        tx.rollback()
        tx.exec_driver_sql("BEGIN")
    database.close()
