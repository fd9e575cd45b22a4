"""A database that another program holds locked is told in one sentence, and nothing is half made."""

import json
import sqlite3
from pathlib import Path

import pytest

from farm import db, service
from farm.client import Client
from farm.embedded import offline
from farm.home import Home
from farm.refusal import Refusal


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(db, "PATIENCE_S", 0.2)
    made = offline(Home(tmp_path / "home"))
    yield made
    made.close()


def test_a_locked_database_is_told(client: Client, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "home" / "farm.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    job = {"name": "x", "owner": "x", "steps": [{"argv": ["true"]}]}
    with pytest.raises(Refusal, match="another program holds the database locked") as refusal:
        client.post("/v1/jobs", job)
    assert refusal.value.status == 503
    assert client.get("/v1/jobs") == {"jobs": []}
    other.rollback()
    other.close()
    assert client.post("/v1/jobs", job) == {"id": 1}


@pytest.mark.parametrize("made", [False, True])
def test_a_start_with_a_locked_database_is_told_in_that_sentence(
    made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(db, "PATIENCE_S", 0.2)
    home = Home(tmp_path / "home").make()
    home.config_file.write_text('[site]\nengine = "plain"\n')
    if made:
        offline(home).close()
    other = sqlite3.connect(home.database, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN EXCLUSIVE")
    assert service.main(["--home", str(home.path)]) == 3
    other.close()
    said = capfd.readouterr().err
    assert "Traceback" not in said
    error = json.loads(said.strip().splitlines()[-1])["error"]
    assert error["what"] == "another program holds the database locked"
    assert error["where"] == str(home.database)
    assert error["remedy"].startswith("end that program (`fuser`")
