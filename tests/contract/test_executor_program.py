"""The one file that makes a machine an executor: fetched from the farm, run by a bare Python, good for one ticket."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.invitation import Invitation
from executors.program import packed
from farm.home import Home
from farm.joining import secret_of
from tests.contract.strait import Strait
from tests.contract.test_outbound import below, command, kept_of
from tests.contract.yard import eventually
from tests.journeys.shell import ROOT, Shell

SETTINGS = """
[site]
engine = "plain"
[listen]
address = "127.0.0.1:0"
url = "{url}"
[pools.sky]
provider = "simulated"
network = "outbound"
boot = "2m"
idle = "10m"
ceiling = 1
"""


class Sky:
    """A farm whose provider sells machines that nobody starts but the test; `source` is where its program lies."""

    def __init__(self, source: Path = ROOT) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fs-", dir="/tmp"))
        self.home = Home(self.folder / "home").make()
        self.strait = Strait(self.home.socket)
        self.url = f"http://{self.strait.place}"
        self.home.config_file.write_text(SETTINGS.format(url=self.url))
        self.farm = Shell(self.home.path, self.folder)
        self.farm.env["PYTHONPATH"] = str(source)
        self.farm("up")
        self.program = self.folder / "executor.pyz"
        self.program.write_bytes(packed())
        self.started: list[subprocess.Popen[str]] = []

    def ordered(self) -> str:
        """The executor that is being awaited."""
        return next((e["id"] for e in self.farm.json("executors")["executors"] if e["state"] == "booting"), "")

    def ticket(self, executor: str, name: str = "ticket.json") -> Path:
        secret = secret_of(self.home.join_key(), self.home.identity(), "sky", executor)
        made = Invitation(self.url, "", self.home.identity(), "sky", executor, 1, secret, 600, engine="plain")
        file = self.folder / name
        file.write_text(made.text())
        return file

    def machine(self, ticket: Path) -> "subprocess.Popen[str]":
        """Nothing of ours is on its path."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [sys.executable, "-E", str(self.program), "--ticket", str(ticket)]
        self.started.append(
            subprocess.Popen(argv, cwd=self.folder, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return self.started[-1]

    def close(self) -> None:
        for one in self.started:
            one.terminate()
            one.communicate(timeout=60)
        self.farm("down", "--terminate")
        self.strait.end()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def sky() -> Iterator[Sky]:
    sky = Sky()
    yield sky
    sky.close()


def test_the_same_sources_make_the_same_bytes_and_need_nothing_else():
    assert packed() == packed()
    names = zipfile.ZipFile(io.BytesIO(packed())).namelist()
    assert {"__main__.py", "executors/site/keeper.py", "executors/site/ray_worker.py"} <= set(names)
    assert all(name == "__main__.py" or name.startswith("executors/") for name in names)


def test_a_bare_machine_works_and_on_sigterm_tells_how_all_of_it_ended(sky: Sky):
    marks = sky.folder / "marks"
    job = sky.farm("submit", "--", "sh", "-c", f"echo x >>{marks}; echo begun; exec sleep 600").split()[1]
    eventually(sky.ordered)
    name = sky.ordered()
    file = sky.ticket(name)
    copy = sky.ticket(name, "copy.json")
    machine = sky.machine(file)
    eventually(marks.exists)
    assert all("join_" not in command(pid) for pid in (machine.pid, *below(machine.pid)))
    assert "join_" not in file.read_text()
    assert all(path.stat().st_mode & 0o77 == 0 for path in kept_of(sky.home.identity(), name))

    thief = Shell(sky.home.path, sky.folder)
    thief.env["TMPDIR"] = str(sky.folder / "t")  # as on another machine
    (sky.folder / "t").mkdir()
    thief("executor", "--ticket", str(copy), "--folder", str(sky.folder / "other"), status=3)
    assert "its ticket was used before" in thief.err

    machine.send_signal(signal.SIGTERM)
    assert machine.wait(60) == 0
    (first, *_) = sky.farm.json("show", f"{job}.1")["attempts"]
    assert (first["state"], first["cause"]) == ("lost", "cancelled")
    assert sky.farm("logs", f"{job}.1.1") == "begun\n"
    assert not kept_of(sky.home.identity(), name)
    sky.farm("cancel", job)
