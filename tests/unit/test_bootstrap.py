"""User data, run as a machine runs it: by sh, with a farm over TLS, in a folder and with programs of its own."""

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from executors.bootstrap import LIMIT, NO_PYTHON, TooLong, user_data
from executors.invitation import Invitation
from tests.contract.yard import eventually
from tests.unit.fake_farm import Authority, FakeFarm, program

SECRET = "s3cret-of-one-machine"
EXECUTOR = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[2]).parent
seen = {"argv": sys.argv[1:], "ticket": json.load(open(sys.argv[2])), "pid": os.getpid(), "python": sys.executable}
(folder / "started.new").write_text(json.dumps(seen))
(folder / "started.new").replace(folder / "started")
sys.exit(5)
"""
WAITS = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[2]).parent
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
(folder / "started").write_text("{}")
while True:
    signal.pause()
"""


class Machine:
    """A bare machine: its own folder, and no program on its path that it was not given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder / "farm", folder / "bin"
        self.bin.mkdir()
        for name in ("sh", "cat", "mkdir", "rm", "grep", "wc"):
            self.give(name, f'exec {shutil.which(name)} "$@"')
        self.give("sync", "")
        self.give("poweroff", f"echo gone >>{folder}/power")  # never the one of the host
        self.give("python3", f'exec {Path(sys.base_prefix, "bin", "python3")} "$@"')
        self.power = folder / "power"
        self.more: dict[str, str] = {}

    def give(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!{shutil.which('sh')}\n{script}\n")
        file.chmod(0o755)

    def start(self, script: str) -> "subprocess.Popen[str]":
        file = self.folder.parent / "user-data"
        file.write_text(script)
        env = {"PATH": str(self.bin), "FARM_FOLDER": str(self.folder)} | self.more
        return subprocess.Popen([shutil.which("sh"), file], env=env, text=True, stderr=subprocess.PIPE, cwd="/")

    def boot(self, invitation: Invitation, **how: bool) -> tuple[int, str]:
        """Exit status and console."""
        with self.start(user_data(invitation, **how)) as process:
            console = process.communicate(timeout=120)[1]
        assert self.power.exists() == how.get("power_off", True), console
        return process.returncode, console

    def seen(self) -> dict:
        return json.loads((self.folder / "started").read_text())

    def started(self) -> bool:
        return (self.folder / "started").exists()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def farm(tmp_path: Path, authority: Authority) -> Iterator[FakeFarm]:
    farm = FakeFarm(tmp_path, program(EXECUTOR), authority)
    yield farm
    farm.close()


@pytest.fixture
def invitation(farm: FakeFarm, authority: Authority) -> Invitation:
    return Invitation(farm.url, authority.pem, "f1", "cloud", "a-1", 2, SECRET, 30.0, engine="plain")


def test_a_machine_becomes_the_executor_and_powers_off_with_it(
    machine: Machine, farm: FakeFarm, invitation: Invitation
):
    status, console = machine.boot(invitation)
    assert status == 5
    assert machine.power.read_text() == "gone\n"
    seen = machine.seen()
    assert seen["argv"] == ["--ticket", str(machine.folder / "ticket.json")]
    assert Invitation.read(json.dumps(seen["ticket"])) == invitation
    assert farm.asked == ["/v1/executor.pyz"]
    assert SECRET not in console


def test_what_it_keeps_only_its_user_can_read(machine: Machine, invitation: Invitation):
    machine.boot(replace(invitation, setup="echo hello"))
    files = {f.name: stat.S_IMODE(f.stat().st_mode) for f in machine.folder.iterdir()}
    assert files["ticket.json"] == 0o600
    assert not [name for name, mode in files.items() if mode & 0o077]
    assert stat.S_IMODE(machine.folder.stat().st_mode) == 0o700


def test_no_secret_is_on_a_command_line_or_in_an_environment(machine: Machine, invitation: Invitation):
    look = f'for f in /proc/[0-9]*/cmdline /proc/self/environ; do cat $f 2>/dev/null; done >"{machine.folder}/all"'
    machine.boot(replace(invitation, setup=look))
    everything = (machine.folder / "all").read_bytes()
    assert b"boot.py" in everything
    assert SECRET.encode() not in everything


def test_no_core_of_it_holds_the_secret(machine: Machine, invitation: Invitation):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # as where somebody wants all cores
    try:
        machine.boot(replace(invitation, setup=f'ulimit -c >"{machine.folder}/core"'))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert (machine.folder / "core").read_text() == "0\n"


def test_without_power_off_the_shell_becomes_the_executor(machine: Machine, invitation: Invitation):
    with machine.start(user_data(invitation, power_off=False)) as process:
        process.communicate(timeout=60)
    assert (process.returncode, machine.seen()["pid"]) == (5, process.pid)
    assert not machine.power.exists()


def test_a_signal_reaches_the_executor(machine: Machine, farm: FakeFarm, invitation: Invitation):
    farm.program = program(WAITS)
    with machine.start(user_data(invitation)) as process:
        eventually(machine.started)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 9
    assert machine.power.read_text() == "gone\n"


# ── the pool's setup script ──


def test_the_setup_script_runs_once_before_the_executor(machine: Machine, invitation: Invitation):
    script = "#!/bin/sh\necho ran >>count\n[ ! -e started ] && echo before >order\ntrue\n"
    for _ in range(2):
        machine.boot(replace(invitation, setup=script))
    assert (machine.folder / "count").read_text() == "ran\n"
    assert (machine.folder / "order").read_text() == "before\n"
    assert machine.seen()["ticket"]["setup"] == ""


def test_any_text_is_a_setup_script(machine: Machine, invitation: Invitation):
    awkward = "cat >text <<'E'\n@RUN@ @BOOT@ $HOME `id` \\n \"' ž\nEND_OF_FARM_FILE\nE\n"
    machine.boot(replace(invitation, setup=awkward))
    assert (machine.folder / "text").read_text() == "@RUN@ @BOOT@ $HOME `id` \\n \"' ž\nEND_OF_FARM_FILE\n"


def test_a_failing_setup_script_is_told_with_its_last_lines(machine: Machine, farm: FakeFarm, invitation: Invitation):
    script = f"for n in 1 2 3; do echo line $n; done\necho {SECRET}\necho no such package >&2\nexit 7"
    status, console = machine.boot(replace(invitation, setup=script))
    assert (status, machine.started()) == (3, False)
    assert "can't join: the pool's setup script ended with status 7" in console
    assert "no such package" in console
    (told,) = farm.failed
    assert (told["secret"], told["executor"], told["pool"]) == (SECRET, "a-1", "cloud")
    assert told["what"].splitlines()[0] == "the pool's setup script ended with status 7:"
    assert told["what"].splitlines()[-1] == "no such package"
    assert SECRET not in told["what"]


def test_of_very_long_lines_the_ends_are_told(machine: Machine, farm: FakeFarm, invitation: Invitation):
    machine.boot(replace(invitation, setup="printf 'x%090000d\\nthe reason' 0; exit 1"))
    assert len(farm.failed[0]["what"]) < 4000
    assert farm.failed[0]["what"].startswith("the pool's setup script ended with status 1:\nx000")
    assert farm.failed[0]["what"].endswith("000\nthe reason")


def test_a_setup_script_for_a_missing_interpreter_is_told(machine: Machine, farm: FakeFarm, invitation: Invitation):
    status, _ = machine.boot(replace(invitation, setup="#!/nowhere/perl\n"))
    assert status == 3
    assert farm.failed[0]["what"] == "the pool's setup script can't be started: No such file or directory"


def test_what_a_setup_script_leaves_running_holds_nothing_up(machine: Machine, invitation: Invitation):
    machine.give("sleep", f'exec {shutil.which("sleep")} "$@"')
    status, _ = machine.boot(replace(invitation, setup='sleep 100 & echo $! >"pid"'))
    assert status == 5
    os.kill(int((machine.folder / "pid").read_text()), signal.SIGKILL)


# ── machines that can't join ──


@pytest.mark.parametrize("speaker", ["curl", "wget"])
def test_no_python_is_told_by_what_there_is(machine: Machine, farm: FakeFarm, invitation: Invitation, speaker: str):
    (machine.bin / "python3").unlink()
    machine.give(speaker, f'echo "$@" >>{machine.folder}/said; exec {shutil.which(speaker)} "$@"')
    status, console = machine.boot(invitation)
    assert status == 3
    assert f"can't join: {NO_PYTHON}" in console
    assert [f["what"] for f in farm.failed] == [NO_PYTHON]
    assert SECRET not in (machine.folder / "said").read_text()


def test_an_old_python_is_no_python(machine: Machine, farm: FakeFarm, invitation: Invitation):
    machine.give("python3", "exit 1")
    status, console = machine.boot(invitation)
    assert status == 3
    assert NO_PYTHON in console
    assert "the farm could not be told: there is no curl and no wget either" in console


def test_a_farm_that_does_not_answer(machine: Machine, farm: FakeFarm, invitation: Invitation):
    farm.close()
    status, console = machine.boot(replace(invitation, lease_s=1.0))
    assert status == 3
    assert f"the farm does not answer at {invitation.url} ([Errno 111] Connection refused)" in console
    assert "tried again" in console


def test_a_farm_that_is_busy_is_asked_again(machine: Machine, farm: FakeFarm, invitation: Invitation):
    farm.before = [(503, {}), (429, {})]
    status, console = machine.boot(invitation)
    assert (status, len(farm.asked)) == (5, 3)
    assert "answers 503" in console


def test_a_farm_of_another_authority_is_told_nothing(machine: Machine, farm: FakeFarm, invitation: Invitation):
    status, console = machine.boot(replace(invitation, ca=Authority("a thief's").pem))
    assert status == 3
    assert "can't prove to be the farm" in console
    assert "the farm could not be told" in console
    assert farm.asked == []


def test_without_an_authority_the_well_known_ones_are_asked(machine: Machine, farm: FakeFarm, invitation: Invitation):
    status, console = machine.boot(replace(invitation, ca=""))
    assert (status, farm.asked) == (3, [])
    assert "can't prove to be the farm" in console


def test_a_clock_that_may_be_wrong_is_given_time(tmp_path: Path, machine: Machine, authority, invitation: Invitation):
    later = FakeFarm(tmp_path, program(EXECUTOR), authority, late=300_000)
    try:
        status, console = machine.boot(replace(invitation, url=later.url, lease_s=1.0))
    finally:
        later.close()
    assert status == 3
    assert "tried again" in console
    assert "the clock here says" in console


def test_nothing_is_sent_in_the_clear(machine: Machine, invitation: Invitation):
    status, console = machine.boot(replace(invitation, url="http://192.0.2.1:8000"))
    assert status == 3
    assert "http://192.0.2.1:8000 is not https://: nothing is sent there in the clear" in console


def test_on_loopback_there_may_be_no_tls(tmp_path: Path, machine: Machine, invitation: Invitation):
    plain = FakeFarm(tmp_path, program(EXECUTOR), None)
    try:
        assert machine.boot(replace(invitation, url=plain.url, ca=""))[0] == 5
    finally:
        plain.close()


def test_nobody_is_followed_elsewhere(tmp_path: Path, machine: Machine, farm: FakeFarm, invitation: Invitation):
    elsewhere = FakeFarm(tmp_path, program(EXECUTOR), None)
    farm.before = [(302, {"Location": f"{elsewhere.url}/v1/executor.pyz"})]
    try:
        status, console = machine.boot(invitation)
    finally:
        elsewhere.close()
    assert (status, elsewhere.asked) == (3, [])
    assert "answers 302" in console
    assert "is a farm there?" in farm.failed[0]["what"]


def test_what_is_no_program_is_not_run(machine: Machine, farm: FakeFarm, invitation: Invitation):
    farm.program = b"<html>Sign in to the hotel's network</html>"
    status, _ = machine.boot(invitation)
    assert (status, machine.started()) == (3, False)
    assert "is no program" in farm.failed[0]["what"]


def test_a_machine_without_ray_installs_it(tmp_path: Path, machine: Machine, farm: FakeFarm, invitation: Invitation):
    """And says why it could not: the first time the index is empty."""
    index = tmp_path / "index"
    index.mkdir()
    real = Path(sys.base_prefix, "bin", "python3")  # its pip is taken over into the environment: to unpack one is slow
    quick = 'case "$*" in *-m\\ venv*) set -- "$@" --without-pip --system-site-packages ;; esac'
    machine.give("python3", f'{quick}; exec {real} "$@"')
    machine.more = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "HOME": str(tmp_path)}
    _wheel(index, "2.59.0")
    status, console = machine.boot(replace(invitation, engine="ray"))
    assert (status, machine.started()) == (3, False)
    assert "there is no Python with Ray here: installing ray 2.60.0" in console
    assert "installing Ray with pip ended with status 1" in farm.failed[0]["what"]
    assert "ray==2.60.0" in farm.failed[0]["what"]
    _wheel(index, "2.60.0")
    status, _ = machine.boot(replace(invitation, engine="ray"))
    assert status == 5
    assert machine.seen()["python"] == str(machine.folder / "venv/bin/python")


def _wheel(index: Path, version: str) -> None:
    with zipfile.ZipFile(index / f"ray-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("ray/__init__.py", "")
        wheel.writestr(f"ray-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: ray\nVersion: {version}\n")
        wheel.writestr(
            f"ray-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"ray-{version}.dist-info/RECORD", "")


# ── what fits into user data ──


def test_user_data_fits_with_a_setup_script_of_usual_size(invitation: Invitation):
    script = user_data(replace(invitation, setup="apt-get install -y povray\n" * 100))
    assert len(script.encode()) < LIMIT == 16384


def test_what_does_not_fit_is_refused_with_how_much(invitation: Invitation):
    room = LIMIT - len(user_data(invitation).encode())
    assert len(user_data(replace(invitation, setup="x" * room)).encode()) == LIMIT
    with pytest.raises(TooLong, match=rf"the setup script of pool cloud \({room + 7:,} bytes\) is 7 bytes too long"):
        user_data(replace(invitation, setup="x" * (room + 7)))


def test_asked_again_it_is_the_same(invitation: Invitation):
    assert user_data(invitation) == user_data(replace(invitation))
