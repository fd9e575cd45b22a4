"""A farm whose database is a PostgreSQL: the same journey, with the service and the server killed on the way."""

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from farm import database_url
from tests.journeys.shell import Shell
from tests.journeys.test_kills import until
from tests.postgres import Postgres

SECRET = "hush_hush"


@dataclass
class Place:
    """A farm and its server."""

    shell: Shell
    server: Postgres
    url: str


def settle(folder: Path, url: str, name: str) -> Shell:
    """A home whose farm.toml names a file with the URL in it."""
    home = folder / name
    home.mkdir()
    settings = '[site]\nengine = "plain"\n[pools.local]\nceiling = 2\n[database]\nurl_file = "url"\n'
    (home / "farm.toml").write_text(settings)
    (home / "url").write_text(url)
    return Shell(home, folder)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    server = Postgres("shared_buffers=16MB")
    with tempfile.TemporaryDirectory(prefix="fp-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.delenv(database_url.VARIABLE, raising=False)
        server.start()
        url = server.url(server.bare()).replace("farm@", f"farm:{SECRET}@")
        shell = settle(Path(folder), url, "home")
        shell("submit", "--name", "early", "--", "echo", "before the farm was up")
        shell("up")
        yield Place(shell, server, url)
        shell("down")
    server.remove()


def test_a_whole_journey_with_the_service_killed_in_the_middle(place: Place, tmp_path: Path) -> None:
    farm, begun = place.shell, tmp_path / "begun"
    begun.touch()
    script = f"echo $FARM_TASK >> {begun}; sleep 1; echo end of $FARM_TASK"
    job = farm("submit", "--array", "1-6", "--", "sh", "-c", script).split()[1]
    behind = farm("submit", "--after", job, "--", "echo", "behind").split()[1]
    until(lambda: len(begun.read_text().split()) >= 2)
    (service,) = [p["pid"] for p in farm.json("status")["processes"] if p["role"] == "service"]
    os.kill(service, signal.SIGKILL)
    until(lambda: farm.json("status")["running"] is False)
    farm("up")
    farm("wait", behind)
    assert Counter(begun.read_text().split()) == {f"{job}.{n}": 1 for n in range(1, 7)}
    assert farm("logs", f"{job}.6") == f"end of {job}.6\n"
    assert farm("logs", behind) == "behind\n"
    assert farm.json("show", "1")["state"] == "done"
    assert farm.json("report", "cost")["rows"]
    assert "is as it should be" in farm("database", "check")


def named(farm: Shell, name: str) -> list[dict[str, Any]]:
    return [job for job in farm.json("jobs")["jobs"] if job["name"] == name]


def test_a_server_killed_under_a_farm_at_work_costs_nobody_anything(place: Place) -> None:
    farm = place.shell
    waiter = farm.start("submit", "--wait", "--name", "long", "--array", "1-20", "--", "sh", "-c", "sleep 0.3; echo hi")
    until(lambda: any(one["tasks"]["done"] > 1 for one in named(farm, "long")))
    place.server.stop(signal.SIGKILL)
    farm("jobs", status=3)
    assert "the database server can't be reached; start it" in farm.err
    assert "database" in farm("doctor", status=3)
    place.server.start()
    out, err = waiter.communicate(timeout=120)
    assert waiter.returncode == 0, out + err
    (job,) = named(farm, "long")
    assert job["tasks"]["done"] == 20
    assert "is as it should be" in farm("database", "check")


def test_a_farm_whose_server_is_away_goes_down_when_it_is_told_what_to_keep(place: Place) -> None:
    farm = place.shell
    place.server.stop()
    farm("down", status=3)
    assert "database server" in farm.err
    farm("down", "--terminate")
    farm("up", status=3)
    assert "can't be reached; start it" in farm.err
    place.server.start()
    farm("up")


def test_another_home_may_submit_and_has_no_service_of_its_own(place: Place, tmp_path: Path) -> None:
    other = settle(tmp_path, place.url, "other")
    other("up", status=3)
    assert "works on this database already" in other.err
    other("submit", "--wait", "--", "true", status=3)
    assert "works on this database already" in other.err
    job = other("submit", "--", "true").split()[1]
    place.shell("wait", job)


def test_status_and_doctor_name_it_and_its_password_is_nowhere(place: Place) -> None:
    farm = place.shell
    said = [farm("status"), farm("status", "--json"), farm("doctor", "--json"), farm("database", "check", "--json")]
    assert all("postgresql://farm" in one for one in said[:3])
    assert not any(SECRET in one for one in said)
    files = [path for path in farm.home.rglob("*") if path.is_file() and path.name != "url"]
    assert (farm.home / "service.log") in files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_farm_moves_to_sqlite_and_works_there(place: Place) -> None:
    farm = place.shell
    farm("database", "copy", str(farm.home / "farm.db"), status=2)
    assert "a service runs on it" in farm.err
    jobs = farm.json("jobs")["jobs"]
    farm("down")
    assert "is as it should be" in farm("database", "copy", str(farm.home / "farm.db"))
    (farm.home / "farm.toml").write_text('[site]\nengine = "plain"\n')
    farm("up")
    assert farm.json("status")["database"] == str(farm.home / "farm.db")
    assert [(one["id"], one["state"]) for one in farm.json("jobs")["jobs"]] == [(j["id"], j["state"]) for j in jobs]
    farm("wait", farm("submit", "--", "true").split()[1])
    assert "is as it should be" in farm("database", "check")
