"""A real executor elsewhere joins a real service over TCP: it works, is cut off, comes back, or ends itself."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from executors.invitation import Invitation
from executors.site.process import Process
from farm.home import Home
from tests.contract.strait import Strait
from tests.contract.yard import commands_with, eventually
from tests.journeys.shell import Shell

SETTINGS = """
[site]
engine = "{engine}"
outbound_lease = "{lease}"
[listen]
address = "{address}"
url = "{url}"
[pools.far]
provider = "local"
network = "outbound"
slots = 2
idle = "10m"
"""


class Coast:
    """A farm whose only pool is elsewhere, behind a strait."""

    def __init__(self, engine: str, lease: str = "10m", tls: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fo-", dir="/tmp"))
        self.home = Home(self.folder / "home")
        self.home.make()
        port = free_port() if tls else 0
        self.strait = Strait(port or self.home.socket)
        url = f"{'https' if tls else 'http'}://{self.strait.place}"
        address = f"0.0.0.0:{port}" if tls else "127.0.0.1:0"
        self.home.config_file.write_text(SETTINGS.format(engine=engine, lease=lease, url=url, address=address))
        self.farm = Shell(self.home.path, self.folder)
        self.farm("up")
        self.farm_id = self.home.identity()

    def submit(self, *words: str) -> str:
        return self.farm("submit", *words).split()[1]

    def run(self, *words: str) -> str:
        """To its good end; the job."""
        job = self.submit(*words)
        self.farm("wait", job)
        return job

    def executors(self, *more: str) -> list[dict]:
        return self.farm.json("executors", *more)["executors"]

    def pid(self) -> int:
        """Of the only living executor."""
        (signed,) = (self.home.pools / "far" / "executors").glob("*/machine.json")
        return json.loads(signed.read_text())["pid"]

    def child(self, mark: str) -> int:
        """The process below the executor whose command line holds this."""
        (found,) = [pid for pid in below(self.pid()) if mark in command(pid)]
        return found

    def close(self) -> None:
        self.strait.open()
        self.farm("down")
        self.strait.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kept_of(farm: str, executor: str) -> list[Path]:
    """The private folders of an executor elsewhere."""
    name = hashlib.sha256(f"{farm}\0{executor}".encode()).hexdigest()[:8]
    return [*Path("/tmp").glob(f"fx-*-{name}"), *Path("/var/tmp").glob(f"farm-executor-*-{name}")]


def below(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *below(child)]
    return found


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module", params=["plain", "ray"])
def coast(request: pytest.FixtureRequest) -> Iterator[Coast]:
    coast = Coast(request.param)
    yield coast
    names = [one["id"] for one in coast.executors("--all")]
    assert [path for name in names for path in kept_of(coast.farm_id, name)]
    coast.close()
    assert not [path for name in names for path in kept_of(coast.farm_id, name)]
    assert not commands_with(str(coast.folder))


def test_inputs_come_and_outputs_go_over_the_connection(coast: Coast):
    given = coast.folder / "given.txt"
    given.write_text("precious\n")
    job = coast.run("--input", str(given), "--output", "out/*", "--", "sh", "-c", "mkdir out; cat given.txt >out/made")
    coast.farm("get", job, "fetched")
    assert (coast.folder / "fetched" / "out" / "made").read_text() == "precious\n"
    held = coast.home.pools / "far" / "executors"
    assert len([p for p in held.glob("*/store/??/*") if p.is_file()]) >= 1  # its own, not the farm's


def test_cut_off_for_a_while_nothing_is_run_again_and_logs_are_whole(coast: Coast):
    marks = coast.folder / "marks"
    script = f"echo x >>{marks}; for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 0.5; done"
    job = coast.submit("--output", "*.txt", "--", "sh", "-c", f"{script}; echo made >made.txt")
    eventually(lambda: marks.exists())
    coast.strait.close()
    eventually(lambda: "for n in" not in "".join(commands_with(str(marks))))  # it has ended, unheard of
    assert coast.farm.json("show", job)["state"] == "running"
    coast.strait.snap()
    coast.strait.open()
    coast.farm("wait", job)
    assert marks.read_text() == "x\n"
    assert coast.farm("logs", job).split() == [*"12345678"]


def test_the_service_may_be_restarted_meanwhile(coast: Coast):
    marks = coast.folder / "again"
    job = coast.submit("--", "sh", "-c", f"echo x >>{marks}; echo begun; sleep 4; echo ended")
    eventually(lambda: marks.exists())
    before = coast.pid()
    Process.of(int(coast.home.lock.read_text())).end(20)
    coast.farm("up")
    coast.farm("wait", job)
    assert (marks.read_text(), coast.farm("logs", job).split()) == ("x\n", ["begun", "ended"])
    assert coast.pid() == before


def test_its_gateway_may_be_killed(coast: Coast):
    marks = coast.folder / "gateway"
    job = coast.submit("--", "sh", "-c", f"echo x >>{marks}; sleep 3; echo ended")
    eventually(lambda: marks.exists())
    os.kill(coast.child("executors.site.gateway"), signal.SIGKILL)
    coast.farm("wait", job)
    assert (marks.read_text(), coast.farm("logs", job)) == ("x\n", "ended\n")


@pytest.mark.parametrize("coast", ["ray"], indirect=True)
def test_its_head_may_be_killed(coast: Coast):
    marks = coast.folder / "head"
    job = coast.submit("--", "sh", "-c", f"echo x >>{marks}; sleep 3; echo ended")
    eventually(lambda: marks.exists())
    os.kill(coast.child("gcs_server"), signal.SIGKILL)
    coast.farm("wait", job)
    assert (marks.read_text(), coast.farm("logs", job)) == ("x\n", "ended\n")


def listening(pids: set[int]) -> list[str]:
    """Addresses in hex at which these processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.append(words[1].partition(":")[0])
    return found


@pytest.mark.parametrize("coast", ["ray"], indirect=True)
def test_its_ports_are_on_loopback_only(coast: Coast):
    coast.run("--", "true")
    found = listening({coast.pid(), *below(coast.pid())})
    assert found
    assert set(found) <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def test_killed_it_leaves_no_process_and_its_work_is_done_again(coast: Coast):
    marks = coast.folder / "killed"
    job = coast.submit("--", "sh", "-c", f"echo x >>{marks}; test $(wc -l <{marks}) -gt 1 || exec sleep 600")
    eventually(lambda: marks.exists())
    first, all_of_it = coast.pid(), [Process.of(pid) for pid in (coast.pid(), *below(coast.pid()))]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not any(process.alive() for process in all_of_it), within=20)
    coast.farm("wait", job)
    assert marks.read_text() == "x\nx\n"


@pytest.fixture
def brief() -> Iterator[Coast]:
    """Executors that live for three seconds without their farm."""
    coast = Coast("plain", "3s")
    yield coast
    coast.close()


def test_cut_off_for_longer_than_its_lease_it_ends_itself_and_its_work_is_done_again(brief: Coast):
    marks = brief.folder / "marks"
    job = brief.submit("--", "sh", "-c", f"echo x >>{marks}; test $(wc -l <{marks}) -gt 1 || exec sleep 600")
    eventually(lambda: marks.exists())
    first = Process.of(brief.pid())
    brief.strait.close()
    eventually(lambda: not first.alive(), within=30)
    assert not commands_with(str(marks))
    eventually(lambda: brief.executors("--all")[0]["state"] == "lost", within=30)
    brief.strait.snap()
    brief.strait.open()
    brief.farm("wait", job)
    assert marks.read_text() == "x\nx\n"
    (task,) = brief.farm.json("show", f"{job}.1")["attempts"][:1]
    assert (task["state"], task["cause"]) == ("lost", "lost")


@pytest.fixture(scope="module")
def secure() -> Iterator[Coast]:
    """Behind TLS, with an authority of the farm's own."""
    coast = Coast("plain", tls=True)
    yield coast
    coast.close()


def test_over_tls_and_under_a_new_authority(secure: Coast):
    assert secure.farm("logs", secure.run("--", "echo", "well")) == "well\n"
    before = secure.pid()
    secure.farm("ca", "rotate")
    secure.strait.snap()
    assert secure.farm("logs", secure.run("--", "echo", "still")) == "still\n"
    assert secure.pid() == before


def test_no_token_of_an_executor_is_seen_where_others_look(secure: Coast):
    """In arguments and environments of processes, in logs, files, cores and reports of a crash, nor by its tasks."""
    secure.run("--", "true")
    (one,) = secure.executors()
    run, roomy = kept_of(secure.farm_id, one["id"])[0], secure.home.pools / "far" / "executors"
    token = (run / "token").read_text().strip()
    hidden = token.split("_", 2)[2].encode()
    gateway = Process.of(secure.child("executors.site.gateway"))
    gateway.signal(signal.SIGABRT)  # it is started again, or the next job would not run
    eventually(lambda: not gateway.alive(), within=30)
    look = f"ls -la {run}; cat {run}/* /proc/*/environ /proc/*/cmdline; env; echo looked"
    said = secure.farm("logs", secure.run("--", "sh", "-c", look)).encode(errors="replace")
    assert b"looked" in said
    assert hidden not in said
    for pid in (secure.pid(), *below(secure.pid())):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            limits, *shown = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("limits", "cmdline", "environ"))
            assert hidden not in b"".join(shown)
            assert re.search(rb"Max core file size +0 ", limits)
    files = [f for place in (run, roomy, secure.home.path) for f in place.rglob("*") if f.is_file()]
    assert [f for f in files if hidden in f.read_bytes()] == [run / "token"]


def ticket(coast: Coast, **more: object) -> Path:
    """As a machine is given one."""
    made = Invitation(f"https://{coast.strait.place}", "", "f1", "far", "abcd-1", 1, "join_x", 2.0, engine="plain")
    file = coast.folder / "ticket.json"
    file.write_text(replace(made, **more).text())
    return file


def refused(coast: Coast, file: Path) -> str:
    coast.farm("executor", "--ticket", str(file), status=3)
    return coast.farm.err


def test_who_cant_prove_to_be_the_farm_is_told_nothing(secure: Coast):
    assert "can't prove to be the farm" in refused(secure, ticket(secure))


def test_a_farm_that_is_named_without_tls_is_told_nothing(secure: Coast):
    assert "is not https://" in refused(secure, ticket(secure, url="http://farm.example.org:8443"))


def test_a_ticket_of_another_farm_is_refused_and_told(secure: Coast):
    ca = secure.farm.json("ca", "show")["ca"]
    said = refused(secure, ticket(secure, ca=ca))
    assert "its ticket is of the farm 'f1'" in said
    (kept, *_) = secure.farm.json("why", "pool", "far")["numbers"]["failed_joins"]
    assert (kept["executor"], "of the farm 'f1'" in kept["what"]) == ("abcd-1", True)
    assert "abcd-1" in secure.farm("why", "pool", "far")


def test_a_farm_that_does_not_answer(secure: Coast):
    said = refused(secure, ticket(secure, url=f"https://127.0.0.1:{free_port()}"))
    assert "does not answer" in said
    assert not kept_of("f1", "abcd-1")


def test_a_setup_script_that_fails_is_told(secure: Coast):
    ca = secure.farm.json("ca", "show")["ca"]
    said = refused(secure, ticket(secure, ca=ca, setup="#!/bin/sh\necho no compiler >&2\nexit 9\n"))
    assert "setup script ended with status 9: no compiler" in said


def test_an_invitation_is_no_secret_once_it_was_used(secure: Coast):
    secure.run("--", "true")
    (kept,) = (secure.home.pools / "far" / "executors").glob("*/invitation.json")
    assert Invitation.read(kept.read_text()).secret == ""
