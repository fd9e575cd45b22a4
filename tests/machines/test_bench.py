"""The bench itself: a machine boots, reaches the farm's side and nothing else, is cut off, frozen, goes off."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.machines.bench import Bench
from tests.machines.image import layers, ray_pins
from tests.machines.machine import Machine, await_that

PORT = 7000
LIMIT_S = 60
ASK = """
import socket, sys, time
began = time.monotonic()
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as s:
    s.sendall(b"ask\\r\\n\\r\\n"); said = s.recv(100).split()[0]
print(said.decode(), round(time.monotonic() - began, 3))
"""


class Server:
    """Answers everybody on the farm's side with the address that it sees."""

    def __init__(self, bench: Bench) -> None:
        with bench.farm.entered():
            self._socket = socket.create_server(("0.0.0.0", PORT), backlog=50)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, (address, _port) = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(address.encode())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)


@pytest.fixture
def server(bench):
    server = Server(bench)
    yield server
    server.close()


@pytest.fixture
def machine(bench) -> Machine:
    machine = bench.machine("one")
    machine.boot()
    return machine


def ask(machine: Machine, host: str = "farm.bench", port: int = PORT, timeout_s: float = 20):
    """(exit status, what came back, seconds)"""
    done = machine.run("python3", "-c", ASK, host, str(port), str(timeout_s))
    said, seconds = (done.stdout.split() or ["", "0"])[:2] if done.returncode == 0 else ("", "0")
    return done.returncode, said, float(seconds)


def test_user_data_is_run_inside_as_a_child_of_the_first_process(bench):
    machine = bench.machine("render-7")
    machine.boot("#!/bin/sh\necho $PPID $(hostname) $(id -u)\nexit 5\n")
    assert machine.script(LIMIT_S) == 5
    assert "1 render-7 0" in machine.console
    assert machine.alive  # a machine whose script has ended is still on


def test_a_machine_has_its_own_root_and_nothing_of_the_farms(machine):
    assert machine.run("sh", "-c", "command -v povray || command -v git").returncode == 127
    assert machine.run("ls", str(Path(__file__).parents[2])).returncode != 0
    assert machine.run("python3", "-c", "import ray").returncode != 0
    assert machine.run("python3", "-m", "venv", "/tmp/v").returncode == 0
    assert machine.run("sh", "-c", "ls /proc | grep -c '^[0-9]'").stdout.strip() in ("3", "4", "5")


def test_the_clock_and_the_devices_of_the_host_are_out_of_reach(machine):
    # To the time that it is: if the right were there, nothing would be harmed.
    assert machine.run("sh", "-c", "date -s @$(date +%s)").returncode != 0
    assert machine.run("mknod", "/tmp/disk", "b", "254", "0").returncode != 0
    assert machine.run("sh", "-c", "echo x >/proc/sys/kernel/hostname").returncode != 0


def test_it_reaches_the_farm_through_the_router_and_nothing_else(bench, machine, server):
    assert ask(machine)[:2] == (0, "10.87.0.2")  # the router's address, not its own
    other = bench.machine("two")
    other.boot()
    listener = machine.popen("python3", "-m", "http.server", "8000", stderr=-1, stdout=-1)
    await_that(lambda: ask(machine, "127.0.0.1", 8000)[0] == 0, LIMIT_S, lambda: "no listener")
    assert ask(other, machine.address, 8000, 2)[0] != 0
    assert ask(other)[:2] == (0, "10.87.0.2")
    listener.kill()
    listener.communicate()


def test_nobody_reaches_a_machine_from_the_farm_even_with_a_route(bench, machine):
    listener = machine.popen("python3", "-m", "http.server", "8000", stderr=-1, stdout=-1)
    await_that(lambda: ask(machine, "127.0.0.1", 8000)[0] == 0, LIMIT_S, lambda: "no listener")
    with bench.farm.entered(), pytest.raises(OSError, match="unreachable"):
        socket.create_connection((machine.address, 8000), timeout=3)
    bench.farm.run("ip", "route", "add", "10.88.0.0/16", "via", "10.87.0.2")
    with bench.farm.entered(), pytest.raises(TimeoutError):
        socket.create_connection((machine.address, 8000), timeout=2)
    listener.kill()
    listener.communicate()


def test_cut_and_restored(machine, server):
    machine.cut()
    assert ask(machine, timeout_s=2)[0] != 0
    machine.restore()
    assert ask(machine)[0] == 0


def test_an_open_connection_survives_a_short_cut(bench, machine):
    with bench.farm.entered():
        listening = socket.create_server(("0.0.0.0", PORT))
    talk = machine.popen(
        "python3", "-c",
        f"import socket; s = socket.create_connection(('farm.bench', {PORT})); s.recv(1); s.sendall(b'still here')",
    )  # fmt: skip
    with listening, listening.accept()[0] as connection:
        machine.cut()
        connection.sendall(b"x")
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        machine.restore()
        connection.settimeout(LIMIT_S)
        assert connection.recv(100) == b"still here"
    assert talk.wait(LIMIT_S) == 0


def test_slow_and_long_and_lossy_and_good_again(machine, server):
    machine.slow(delay_ms=150)
    status, _said, seconds = ask(machine)
    assert status == 0
    assert seconds >= 0.6  # there and back, twice
    machine.slow(loss=1)
    assert ask(machine, timeout_s=2)[0] != 0
    machine.slow(loss=0.2)
    assert ask(machine)[0] == 0
    machine.slow()
    assert ask(machine)[0] == 0


def test_a_narrow_connection_takes_its_time(bench, machine):
    fetch = "import urllib.request as u; print(len(u.urlopen('http://10.87.0.2/debs/Packages').read()))"
    machine.slow(kbit=400)
    began = time.monotonic()
    size = int(machine.run("python3", "-c", fetch).stdout)
    assert time.monotonic() - began >= (size - 33000) * 8 / 400_000  # what the bucket holds goes at once


def test_a_frozen_machine_stands_still_and_goes_on(machine):
    count = machine.popen("sh", "-c", "while :; do echo x >>/tmp/count; sleep 0.02; done")
    counted = machine.path("/tmp/count")
    await_that(lambda: counted.exists() and counted.stat().st_size > 4, LIMIT_S, lambda: "nothing is counted")
    machine.freeze()
    before = counted.stat().st_size
    threading.Event().wait(0.5)
    assert counted.stat().st_size == before
    machine.freeze(False)
    await_that(lambda: counted.stat().st_size > before, LIMIT_S, lambda: "it does not go on")
    count.kill()
    count.wait()


@pytest.mark.parametrize(
    "words", ["poweroff", "shutdown -h now", "reboot", "halt", "systemctl poweroff", "poweroff -f", "reboot --force"]
)
def test_powering_off_ends_the_machine_and_never_the_host(machine, words):
    machine.run("sh", "-c", f"setsid sleep 1000 >/dev/null 2>&1 & {words}")
    machine.ended(LIMIT_S)
    assert not machine.alive
    assert ("machine: going down" in machine.console) == ("f" not in words.split("-")[-1][:1])


def test_the_power_button_lets_programs_say_goodbye_and_the_disk_stays(bench):
    machine = bench.machine("one")
    machine.boot("trap 'echo bye >/root/said; exit' TERM\necho up\nwhile :; do sleep 0.1; done\n")
    await_that(lambda: "up" in machine.console, LIMIT_S, lambda: machine.console)
    machine.power_off()
    assert not machine.alive
    machine.boot()
    assert machine.read("/root/said") == "bye\n"


def test_a_machine_dies_with_all_that_it_runs_frozen_or_not(machine):
    machine.popen("sh", "-c", "setsid sleep 1000 & exec setsid sleep 1001")
    await_that(lambda: len(machine.pids()) >= 3, LIMIT_S, lambda: "nothing runs")
    pids = machine.pids()
    machine.freeze()
    machine.kill()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_name_can_come_to_mean_another_address(bench, machine, server):
    bench.network.also_farm("10.87.0.9")
    machine.name_host("farm.bench", "10.87.0.9")
    assert machine.run("getent", "hosts", "farm.bench").stdout.split() == ["10.87.0.9", "farm.bench"]
    assert ask(machine)[0] == 0


def test_plain_machines_can_install_what_a_setup_script_asks_for(machine):
    script = "apt-get -qq update && apt-get -qq install -y --no-install-recommends libogg0 && dpkg -s libogg0"
    done = machine.run("sh", "-c", script, timeout_s=120)
    assert done.returncode == 0, done.stderr
    done = machine.run(
        "sh", "-c", "python3 -m venv /tmp/v && /tmp/v/bin/pip install -q click && /tmp/v/bin/python -c 'import click'"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("image", "version"), [("ray", "3.11"), ("python3.12", "3.12"), ("python3.13", "3.13")])
def test_images_with_ray_for_each_python(bench, image, version):
    machine = bench.machine("one", image)
    machine.boot()
    done = machine.run("python3", "-c", "import ray, sys; print(ray.__version__, sys.version)", timeout_s=120)
    assert done.stdout.startswith(f"{ray_version()} {version}."), done.stderr


def ray_version() -> str:
    lock = (Path(__file__).parents[2] / "requirements/run.txt").read_text()
    return next(pin.split("==")[1] for pin in ray_pins(lock) if pin.startswith("ray=="))


def test_an_image_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no image is called ray2"):
        layers("ray2")


def test_nothing_is_left():
    places = [Path("/var/tmp"), *Path("/sys/fs/cgroup").glob("**/farm-bench")]

    def there() -> set[str]:
        mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
        files = {str(path) for place in places for path in place.glob("farm-machine-*")}
        return files | mounts | {f"net {name}" for name in os.listdir("/sys/class/net")}

    before = there()
    with Bench() as bench:
        machine = bench.machine("one")
        machine.boot("sleep 1000")
        pids = machine.pids()
        guests = {one for one in there() - before if machine.group in one or one.startswith("net ")}
        assert len([g for g in guests if "farm-machine" in g]) >= 1
    mine = {g for g in there() if any(g.startswith(guest) for guest in guests)}
    assert mine == set()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
