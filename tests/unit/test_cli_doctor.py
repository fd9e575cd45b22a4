"""Every check of the doctor, in the good and in the bad case."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.site import ground
from executors.site.cage import Cage
from executors.site.ray_private import PINNED
from farm import names
from farm.cli import doctor
from farm.home import Home


@pytest.fixture
def home(tmp_path) -> Iterator[Home]:
    made = Home(tmp_path / "home").make()
    yield made
    assert not made.run.exists()


@pytest.mark.parametrize(("version", "level"), [((3, 10, 9), "error"), ((3, 11, 0), "ok"), ((3, 14, 2), "ok")])
def test_python(version, level):
    assert doctor.python(version).level == level


def test_names_owned_by_another_distribution_are_an_error():
    ours = {"farm": ["elastic-farm"], "schedules": ["elastic-farm"], "requests": ["requests"]}
    assert doctor.own_names(ours).level == "ok"
    found = doctor.own_names({**ours, "executors": ["executors"]})
    assert found.level == "error"
    assert "pip uninstall executors" in found.remedy


def test_names_found_elsewhere_are_an_error(tmp_path):
    assert names.shadowed() == ""
    (tmp_path / "schedules.py").touch()
    script = "import sys; sys.path[:0] = sys.argv[1:]; from farm import names; print(names.shadowed())"
    root = Path(names.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script, tmp_path, root], capture_output=True, text=True, check=True)
    assert "schedules" in done.stdout
    assert doctor.own_names({}, done.stdout).level == "error"


def test_ray_is_the_pinned_one():
    assert doctor.ray(PINNED).level == "ok"
    assert PINNED in doctor.ray("2.9.0").remedy
    assert doctor.ray("").level == "error"


def test_a_home_that_cannot_be_made_is_an_error():
    assert doctor.home_folder(Home(Path("/proc/nowhere"))).level == "error"


def test_a_good_home(home):
    assert doctor.home_folder(home).level == "ok"


@pytest.mark.parametrize(("free", "level"), [(1 << 20, "error"), (1 << 30, "warning"), (1 << 40, "ok")])
def test_disk(home, free, level):
    assert doctor.disk(home, free).level == level


def test_a_token_that_others_can_read_is_an_error(home):
    assert doctor.token(home).level == "ok"
    home.token_file.chmod(0o644)
    assert "chmod 600" in doctor.token(home).remedy


def test_settings_that_cannot_be_read_are_an_error(home):
    assert doctor.settings(home).level == "ok"
    home.config_file.write_text("[pools.local]\nceilling = 3\n")
    found = doctor.settings(home)
    assert (found.level, "'ceiling'" in found.found) == ("error", True)


def test_a_damaged_database_is_found(home):
    assert doctor.database(home).level == "ok"
    with sqlite3.connect(home.database) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("y" * 500,)] * 200)
    connection.close()
    assert doctor.database(home).level == "ok"
    with home.database.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(8192))
    assert doctor.database(home).level == "error"


def test_a_service_that_is_not_running_is_no_error(home):
    assert doctor.service(home).level == "ok"


def test_missing_programs_are_warnings_that_say_what_to_install():
    found = list(doctor.programs(lambda name: None if name == "ffmpeg" else f"/usr/bin/{name}"))
    assert {one.check: one.level for one in found} == {"git": "ok", "povray": "ok", "ffmpeg": "warning"}
    assert any("apt-get install ffmpeg" in one.remedy for one in found)


def test_an_error_makes_the_exit_status_3(capsys):
    assert doctor.doctor(home="/proc/nowhere", json=True) == 3
    assert '"ok": false' in capsys.readouterr().out


def test_limits_are_exact_only_with_control_groups(monkeypatch):
    monkeypatch.setattr(ground, "base", lambda: Cage("/m", "/p", ""))
    assert doctor.limits().level == "ok"
    monkeypatch.setattr(ground, "base", lambda: Cage("", "/p", ""))
    found = doctor.limits()
    assert (found.level, "holds memory:" in found.found, bool(found.remedy)) == ("warning", True, True)
    assert "Delegate=yes" in found.remedy
    monkeypatch.setattr(ground, "base", Cage)
    assert "memory and processes" in doctor.limits().found
