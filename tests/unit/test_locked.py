"""A database that another program holds locked is told in one sentence, and nothing is half made."""

import sqlite3
from pathlib import Path

import pytest

from farm import db
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
