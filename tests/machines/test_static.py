"""Owned machines behind a router: they join by themselves, work while nobody needs them, and stand by again."""

import contextlib
import json
import os
import signal
import sqlite3
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually, tickets
from tests.machines.bench import Bench
from tests.machines.demonstration import shown
from tests.machines.desks.desk import PATIENCE_S
from tests.machines.desks.static import StaticDesk, quiet
from tests.machines.machine import Machine

OTHER = '[pools.other]\nprovider = "static"\nceiling = 0\n'
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fs-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def farm(bench: Bench, folder: Path) -> Iterator[StaticDesk]:
    with StaticDesk(bench, folder, more=OTHER) as desk:
        yield desk


@pytest.mark.timeout(1800)
def test_a_film_and_packages_from_nothing_to_nothing_are_shown(folder: Path):
    shown("static", folder)


def test_a_cut_of_half_a_minute_costs_nothing(farm: StaticDesk):
    machine = farm.owned("ws-1", "ray")
    script = "for i in $(seq 36); do echo line $i; sleep 1; done; echo whole > out.txt"
    job = farm.submit("--output", "out.txt", "--", "sh", "-c", script)
    eventually(lambda: "line 3" in farm("logs", str(job)), PATIENCE_S)
    machine.cut()
    with pytest.raises(AssertionError):  # nothing comes meanwhile
        eventually(lambda: "line 30" in farm("logs", str(job)), 28)
    machine.restore()
    farm("wait", str(job))
    assert farm("logs", str(job)).split("\n") == [f"line {n}" for n in range(1, 37)] + [""]
    farm("get", str(job), str(farm.cwd / "got"))
    assert [f.read_text() for f in (farm.cwd / "got").rglob("out.txt")] == ["whole\n"]
    (task,) = farm.json("show", f"{job}.1")["attempts"]
    assert task["state"] == "succeeded"


def test_who_is_cut_off_for_longer_than_its_lease_ends_and_its_work_is_done_once(bench: Bench, folder: Path):
    """The second one does not watch its lease, and brings a result when its work is done elsewhere already."""
    with StaticDesk(bench, folder, lease="15s") as farm:
        first, stubborn = farm.owned("ws-1", "ray"), farm.owned("ws-2", "ray")
        script = 'hostname; [ "${FARM_ATTEMPT##*.}" != 1 ] || while ! [ -e /var/tmp/enough ]; do sleep 0.2; done'
        job = farm.submit("--array", "1-2", "--", "sh", "-c", script)
        tasks = [f"{job}.{n}" for n in (1, 2)]
        eventually(lambda: {farm("logs", task) for task in tasks} == {"ws-1\n", "ws-2\n"}, PATIENCE_S)
        late = next(task for task in tasks if "ws-2" in farm("logs", task))
        watch = _watch(next(name for name, host in farm.lent().items() if host.startswith("ws-2-")))
        first.cut()
        stubborn.cut()
        os.kill(watch, signal.SIGSTOP)
        stubborn.put("/var/tmp/enough", "")
        farm.owned("ws-3", "ray")
        farm("wait", str(job))
        eventually(lambda: quiet(first), PATIENCE_S)  # it has ended its task and itself, though nobody could say so
        stubborn.restore()
        eventually(lambda: farm.json("show", late)["attempts"][0]["refused"], PATIENCE_S)
        os.kill(watch, signal.SIGCONT)
        first.restore()
        for task in tasks:
            told = farm.json("show", task)
            assert [(a["state"], a["accepted"]) for a in told["attempts"]] == [("lost", False), ("succeeded", True)]
            assert (told["accepted"], farm("logs", task)) == (2, "ws-3\n")
        eventually(lambda: _stands_by(first, farm), PATIENCE_S)
        assert farm.json("database", "check")["findings"] == []


def _watch(executor: str) -> int:
    """The process that ends this executor when its lease is over, as this host counts."""

    for pid, file in tickets():
        with contextlib.suppress(OSError):
            if json.loads(Path(f"/proc/{pid}/root{file}").read_text())["executor"] == executor:
                return pid
    raise AssertionError(f"{executor} is nowhere on this host")


def _stands_by(machine: Machine, farm: StaticDesk) -> bool:
    """It is given work again: of two tasks that are wanted at once, each needs a machine."""
    job = farm.submit("--lane", "interactive", "--array", "1-2", "--", "sh", "-c", "hostname; sleep 15")
    farm("wait", str(job))
    return any(machine.name in farm("logs", f"{job}.{n}") for n in (1, 2))


SAYS = "for n in 1 2 3; do while ! [ -e /var/tmp/say-$n ]; do sleep 0.2; done; echo $n; done"


def test_another_certificate_another_authority_and_another_address_are_found_by_who_works(
    bench: Bench, farm: StaticDesk
):
    machine = farm.owned("ws-1", "ray")
    job = farm.submit("--", "sh", "-c", SAYS)
    eventually(lambda: _gateways(machine), PATIENCE_S)
    eventually(lambda: farm.json("show", f"{job}.1")["started"], PATIENCE_S)

    def heard(said: int) -> None:
        """The executor's next words come over a connection that is new."""
        for pid in _gateways(machine):
            os.kill(pid, signal.SIGKILL)
        machine.put(f"/var/tmp/say-{said}", "")
        eventually(lambda: str(said) in farm("logs", str(job)).split(), PATIENCE_S)

    before = _certificate(bench)
    (farm.home / "tls" / "server.pem").unlink()  # as when it is near its end
    eventually(lambda: _certificate(bench) != before, PATIENCE_S)
    heard(1)
    farm("ca", "rotate")
    heard(2)
    bench.network.also_farm("10.87.0.9")
    settings = farm.home / "farm.toml"
    settings.write_text(settings.read_text().replace(f"{bench.address}:8443", "10.87.0.9:8443"))
    farm("down", "--keep")
    farm("up")
    machine.name_host(bench.name, "10.87.0.9")
    heard(3)
    farm("wait", str(job))
    assert farm("logs", str(job)).split() == ["1", "2", "3"]
    assert [a["state"] for a in farm.json("show", f"{job}.1")["attempts"]] == ["succeeded"]


def _gateways(machine: Machine) -> list[int]:
    found = []
    for pid in machine.pids():
        with contextlib.suppress(OSError):
            if b"executors.site.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _certificate(bench: Bench) -> str:
    """What the farm shows to who connects."""
    with bench.farm.entered():
        return ssl.get_server_certificate((bench.address, 8443), timeout=60)


def test_a_hold_file_sends_work_home_which_is_done_elsewhere(farm: StaticDesk):
    mine = farm.owned("ws-1", "ray", "--hold-file /root/hold --grace 4")
    job = farm.submit("--", "sh", "-c", "hostname; case $FARM_ATTEMPT in *.1) sleep 1000;; esac")
    eventually(lambda: "ws-1" in farm("logs", str(job)), PATIENCE_S)
    mine.put("/root/hold", "")
    eventually(lambda: quiet(mine), PATIENCE_S)
    assert "the hold file /root/hold is there" in farm("executors", "--all")
    eventually(lambda: "the hold file /root/hold is there" in farm("why", "desks"), PATIENCE_S)
    other = farm.owned("ws-2", "ray")
    farm("wait", str(job))
    assert other.name in farm("logs", str(job))
    first, second = farm.json("show", f"{job}.1")["attempts"]
    assert (first["state"], second["state"]) == ("lost", "succeeded")  # not charged to it: it is no failure of its own
    mine.path("/root/hold").unlink()
    eventually(lambda: _stands_by(mine, farm), PATIENCE_S)


def test_tickets_are_good_once_for_their_pool_and_for_who_knows_the_farm(farm: StaticDesk):
    first = farm.owned("ws-1", "plain")
    used = first.read("/etc/farm/ticket")
    strange = "the farm's authority is not this one"
    for name, pool, ticket, said in (
        ("thief", "desks", used, "this ticket was used before, by ws-1"),
        ("lost", "desks", farm.ticket("other"), "this token is for pool 'other', not for 'desks'"),
        ("liar", "desks", "farm_0123456789_" + "x" * 43, "no token, or a wrong one"),
        ("nowhere", "attic", farm.ticket(), "there is no pool 'attic'"),
    ):
        machine = farm.furnished(name, "plain", ticket)
        machine.boot(farm.user_data(pool))
        assert machine.script(PATIENCE_S) == 3, strange
        assert said in machine.console
        machine.close()
    assert used not in "".join(f.read_text(errors="replace") for f in farm.home.glob("*.log"))
    assert first.run("pgrep", "-f", used).stdout == ""
    told = first.run("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'").stdout
    assert "farm_" not in told


def test_who_can_not_prove_to_be_the_farm_is_told_nothing(farm: StaticDesk, folder: Path):
    machine = farm.furnished("ws-1", "plain")
    wrong = folder / "wrong.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*argv, "-keyout", "/dev/null", "-out", wrong, "-subj", "/CN=x"], check=True, capture_output=True)
    machine.boot("python3 /etc/farm/fetch.py https://farm.bench:8443")
    assert machine.script(PATIENCE_S) == 0
    machine.put("/etc/farm/ca.pem", wrong.read_text())
    words = "python3 /usr/local/lib/executor.pyz --pool desks --ticket /etc/farm/ticket --ca /etc/farm/ca.pem --join"
    done = machine.run(*words.split(), "https://farm.bench:8443")
    assert (done.returncode, "can't prove to be the farm" in done.stderr) == (3, True)
    done = machine.run(*words.split(), "http://farm.bench:8443")
    assert (done.returncode, "nothing is sent there in the clear" in done.stderr) == (2, True)


SCAN = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def is_open(port):
    with socket.socket() as s:
        s.settimeout(3)
        return port if s.connect_ex((sys.argv[1], port)) == 0 else 0
with ThreadPoolExecutor(64) as many:
    print(*filter(None, many.map(is_open, range(1, 65536))))
"""


def test_only_what_was_told_listens(farm: StaticDesk):
    machine = farm.owned("ws-1", "ray")
    job = farm.submit("--", "sleep", "600")
    eventually(lambda: farm.json("show", str(job))["state"] == "running", PATIENCE_S)
    assert machine.run("python3", "-c", SCAN, farm.bench.address, timeout_s=170).stdout.split() == ["8443"]
    table = machine.run("sh", "-c", "cat /proc/net/tcp /proc/net/tcp6").stdout
    assert len(table.splitlines()) > 4
    assert _reachable(table) == []
    farm("cancel", str(job))


def _reachable(table: str) -> list[str]:
    """Local addresses that listen, beside loopback ones; see proc(5)."""
    rows = [line.split() for line in table.splitlines() if ":" in line and "local" not in line]
    loopback = ("0100007F:", "00000000000000000000000001000000:", "0000000000000000FFFF00000100007F:")
    return [row[1] for row in rows if row[3] == "0A" and not row[1].startswith(loopback)]


def test_what_listens_for_others_is_seen():
    listens, loopback = "0: 00000000:270F 00000000:0000 0A", "1: 0100007F:1F90 00000000:0000 0A"
    assert _reachable(f"sl local_address\n{listens}\n{loopback}\n2: 0258580A:CB 0157570A:20FB 01") == ["00000000:270F"]


ANOTHER_PATCH = """cd /opt/python/lib/python3*/site-packages
sed -i 's/^Version: \\(2[.][0-9]*\\)[.].*/Version: \\1.77/' ray-*.dist-info/METADATA
sed -i 's/^version = "\\(2[.][0-9]*\\)[.].*/version = "\\1.77"/' ray/_version.py
python3 -c 'import ray; print(ray.__version__)'
"""


@pytest.mark.parametrize(("version", "patch"), [("3.12", ""), ("3.13", ANOTHER_PATCH)])
def test_a_machine_with_another_python_and_another_patch_of_ray_works_as_well(
    farm: StaticDesk, version: str, patch: str
):
    machine = farm.owned("ws-1", f"python{version}")
    if patch:  # no other patch of this release may be out: the one that is there calls itself a later one
        assert machine.run("sh", "-c", patch).stdout.endswith(".77\n")
    job = farm.submit("--output", "v.txt", "--", "sh", "-c", "python3 -V; python3 -V >v.txt")
    farm("wait", str(job))
    assert farm("logs", str(job)).startswith(f"Python {version}.")
    farm("get", str(job), str(farm.cwd / "got"))
    assert [f.read_text() for f in (farm.cwd / "got").rglob("v.txt")] == [farm("logs", str(job))]
    assert [ray.endswith(".77") for ray in _rays(farm)] == [bool(patch)]


def _rays(farm: StaticDesk) -> list[str]:
    """The versions that executors have joined with."""
    with contextlib.closing(sqlite3.connect(farm.home / "farm.db")) as database:
        return [ray for (ray,) in database.execute("SELECT ray FROM joined WHERE ray != ''")]
