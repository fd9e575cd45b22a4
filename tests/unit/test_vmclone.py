"""Clones without a QEMU: the line, the store behind it, what is believed, what is refused and how that is told."""

import io
import os
import socket
import threading
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from executors.contract import EventKind, FileRef, Order, Surroundings
from executors.errors import Refused, Throttled
from executors.packed import Events
from executors.store import FolderStore, Missing
from executors.vmclone import guest, identity, image, init, program, qemu
from executors.vmclone.facts import unfit
from executors.vmclone.far_store import Counter, FarStore
from executors.vmclone.frames import LENGTHS, MOST_DATA, Garbled, packed, unpacked
from executors.vmclone.identity import Identity
from executors.vmclone.peer import Failed, Gone, Peer, plainly
from executors.vmclone.provider import provider
from executors.vmclone.proxy import Proxy
from executors.vmclone.recipe import Recipe
from executors.vmclone.template import folder_of
from tests.journeys.shell import Shell

FACTS = {"clock": "tsc", "interfaces": [], "sockets": 0}


class Line:
    """Two peers and the line between them."""

    def __init__(self, here: dict, there: dict) -> None:
        self.ends = socket.socketpair()
        self.here, self.there = (Peer(e.fileno(), m) for e, m in zip(self.ends, (here, there), strict=True))
        self.threads = [threading.Thread(target=p.serve, daemon=True) for p in (self.here, self.there)]
        for thread in self.threads:
            thread.start()

    def cut(self) -> None:
        for end in self.ends:
            end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)


def test_a_frame_comes_back_as_it_went_and_nonsense_does_not():
    whole = packed({"a": [1, "ü"]}, b"\0bytes")
    assert unpacked(io.BytesIO(whole).read) == ({"a": [1, "ü"]}, b"\0bytes")
    for wrong in (whole[:-1], LENGTHS.pack(3, 0) + b"{x}", LENGTHS.pack(2, MOST_DATA + 1) + b"{}", b""):
        with pytest.raises(Garbled):
            unpacked(io.BytesIO(wrong).read)


def test_both_ends_call_each_other_at_once_and_errors_travel():
    def fail() -> None:
        raise Missing("the store has no file x")

    never = threading.Event()
    line = Line(
        {"double": plainly(lambda n: 2 * n)},
        {"echo": lambda args, data: (args, data[::-1]), "fail": plainly(fail), "hang": plainly(never.wait)},
    )
    assert line.here.call("echo", 1, "x", data=b"abc", within_s=10) == ([1, "x"], b"cba")
    assert line.there.call("double", 4, within_s=10) == (8, b"")
    with pytest.raises(Failed, match="Missing: the store has no file x"):
        line.here.call("fail", within_s=10)
    with pytest.raises(Failed, match="KeyError"):
        line.here.call("no such thing", within_s=10)
    with pytest.raises(Gone, match="no answer to hang"):
        line.here.call("hang", within_s=0.05)
    never.set()
    line.cut()
    with pytest.raises(Gone):
        line.here.call("echo", within_s=10)


def test_who_waits_for_an_answer_is_let_go_when_the_line_ends():
    hears = threading.Event()

    def hang() -> None:
        hears.set()
        threading.Event().wait(60)

    line = Line({}, {"hang": plainly(hang)})
    threading.Thread(target=lambda: (hears.wait(10), line.cut()), daemon=True).start()
    with pytest.raises(Gone):
        line.here.call("hang", within_s=30)


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    return Counter(FolderStore(tmp_path / "farm"))


@pytest.fixture
def far(tmp_path: Path, counter: Counter) -> Iterator[FarStore]:
    line = Line(counter.methods(), {})
    yield FarStore(tmp_path / "guest", lambda: line.there)
    line.cut()


def test_a_guests_store_fetches_what_it_lacks_and_brings_what_it_made(tmp_path: Path, far: FarStore, counter: Counter):
    farm = FolderStore(tmp_path / "farm")
    big = os.urandom(1_500_000)
    digest = farm.put_bytes(big)
    far.place(FileRef("in/x", digest, len(big)), tmp_path)
    assert (tmp_path / "in" / "x").read_bytes() == big
    made = far.put_stream(io.BytesIO(b"made" * 400_000))
    assert farm.read(made) == b"made" * 400_000
    assert counter.known == {digest, made}
    with pytest.raises(Missing, match="the store has no file " + "0" * 64):
        far.place(FileRef("y", "0" * 64, 1), tmp_path)


def test_the_farm_takes_nothing_in_under_a_wrong_name(tmp_path: Path, far: FarStore, counter: Counter):
    line = Line(counter.methods(), {})
    number = line.there.call("coming", within_s=10)[0]
    line.there.call("piece", number, data=b"harmful", within_s=10)
    with pytest.raises(Failed, match="others than announced"):
        line.there.call("arrived", number, "1" * 64, within_s=10)
    assert not counter.known
    assert not [f for f in (tmp_path / "farm").rglob("*") if f.is_file()]
    with pytest.raises(Failed, match="ValueError"):
        line.there.call("size", "../../etc/passwd", within_s=10)
    line.cut()


SNAPSHOT = [["1.1.1", 7, "running"], ["none", 7, "running"], ["1.1.2", -1, "running"]]
PROCESSES = [
    {"role": "task", "attempt": "1.1.1", "inside": 5, "command": "true"},
    {"role": "task", "attempt": "none", "inside": 5, "command": "bad attempt"},
    {"role": "task", "attempt": "", "inside": 10**400, "command": "bad pid"},
    {"role": "task", "attempt": "", "inside": 5, "command": "bad text \ud800"},
]


class Liar:
    """A guest that says what it is told to say."""

    def __init__(self, folder: Path) -> None:
        self.events = Events(1, 0, b"")
        self.door = socket.socket(socket.AF_UNIX)
        self.path = str(folder / "door")
        self.door.bind(self.path)
        self.door.listen(1)
        self.ours, self.theirs = socket.socketpair()
        served = {"clock": plainly(lambda _at: None), "poll": lambda *_: self._polled()}
        served |= {"snapshot": plainly(lambda: SNAPSHOT), "processes": plainly(lambda: PROCESSES)}
        peer = Peer(self.ours.fileno(), served)
        threading.Thread(target=peer.serve, daemon=True).start()
        threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        with self.door.accept()[0] as caller:
            socket.send_fds(caller, [b"line4711"], [self.theirs.fileno()])

    def _polled(self) -> tuple[list[int], bytes]:
        e = self.events
        return [e.first, e.last, len(e.lines)], e.lines + e.data


STARTED = {"kind": EventKind.STARTED, "attempt": "1.1.1", "token": 1, "at": 5, "spool": "0-1"}
FINISHED = {"kind": EventKind.FINISHED, "attempt": "1.1.1", "token": 1, "at": 5, "started": 4}
LOG = {"kind": EventKind.LOG, "attempt": "1.1.1", "spool": "0-1"}
BROUGHT = [{"path": "x", "digest": "2" * 64, "size": 1}]


@pytest.mark.parametrize(
    "said",
    [
        {**STARTED, "spool": "../../../etc/cron.d/x"},
        {**STARTED, "at": "yesterday"},
        {**STARTED, "attempt": ["1.1.1"]},
        {**FINISHED, "outputs": BROUGHT},
        {**FINISHED, "outputs": [{"path": "x", "digest": "../x", "size": 1}]},
        {**FINISHED, "attempt": "1.1"},
        {**FINISHED, "attempt": ""},
        {**FINISHED, "started": -1},
        {**FINISHED, "at": 1 << 63},
        {**FINISHED, "lo": 2, "hi": 1},
        {**FINISHED, "message": "\ud800"},
        {**LOG, "spool": ""},
        {**LOG, "lo": 1 << 50, "hi": 1 << 50},
    ],
)
def test_what_an_honest_agent_would_not_say_is_not_passed_on(tmp_path: Path, said: dict):
    from executors.packed import line

    liar, ended = Liar(tmp_path), threading.Event()
    proxy = Proxy("e-1", str(tmp_path), str(tmp_path / "store"), {"line": liar.path}, ended.set)
    liar.events = Events(1, 1, line(1, STARTED))
    assert proxy.poll(0, 0, 0, 0)[0].attempt == "1.1.1"
    liar.events = Events(1, 1, line(1, said))
    with pytest.raises(Garbled):
        proxy.poll(0, 0, 0, 0)
    liar.events = Events(1, 1, b"{nonsense\n")
    with pytest.raises(Garbled):
        proxy.poll(0, 0, 0, 0)
    assert not ended.is_set()
    liar.ours.shutdown(socket.SHUT_RDWR)
    assert ended.wait(10)  # it goes with its guest


def test_a_guests_processes_and_snapshot_are_shown_as_far_as_the_farm_would_take_them(tmp_path: Path):
    liar = Liar(tmp_path)
    proxy = Proxy("e-1", str(tmp_path), str(tmp_path / "store"), {"line": liar.path}, lambda: None)
    assert [(r.attempt, r.token) for r in proxy.snapshot()] == [("1.1.1", 7)]
    assert [p["command"] for p in proxy.processes()[2:]] == ["true"]
    liar.ours.shutdown(socket.SHUT_RDWR)


def test_a_template_that_would_make_bad_clones_is_not_frozen():
    assert unfit(FACTS, 1.001) == ""
    for wrong, pace, told in (
        ({"clock": "hpet"}, 1, "its clock source is hpet"),
        ({}, 0.9, "0.900 seconds pass"),
        ({"sockets": 2}, 1, "2 open sockets"),
        ({"interfaces": ["eth0"]}, 1, "eth0"),
    ):
        assert told in unfit(FACTS | wrong, pace)


def test_each_identity_is_its_own_and_its_name_is_a_hosts():
    one, other = Identity.fresh("A_b.c-1"), Identity.fresh("A_b.c-1")
    assert one.hostname == "a-b-c-1"
    assert not {one.nonce, one.seed, one.machine_id} & {other.nonce, other.seed, other.machine_id}


def test_what_changes_a_machine_is_refused_outside_of_a_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def never(*_: object) -> None:
        raise AssertionError("it was about to be changed")

    for owner, name in ((identity, "reseed_kernel"), (socket, "sethostname"), (os, "fork")):
        monkeypatch.setattr(owner, name, never)
    monkeypatch.setattr(identity.time, "clock_settime_ns", never)
    monkeypatch.setattr(identity, "PORTS", str(tmp_path / "none"))
    for change in (
        lambda: identity.assume(Identity.fresh("e-1")),
        lambda: identity.set_clock(1),
        lambda: identity.rename("e-1", "1"),
        lambda: guest.main(0),
    ):
        with pytest.raises(identity.NoGuest):
            change()


def test_a_guest_is_known_by_the_line_to_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert not identity.in_guest()
    (tmp_path / "cmdline").write_text(f"python3\0-c\0{init.START}\x005\0")
    monkeypatch.setattr(identity, "PORTS", str(tmp_path / "ports"))
    monkeypatch.setattr(identity, "FIRST", str(tmp_path / "cmdline"))
    for name, known in (("org.qemu.guest_agent.0", False), ("farm", True)):
        (tmp_path / "ports" / name).mkdir(parents=True)
        (tmp_path / "ports" / name / "name").write_text(f"{name}\n")
        assert identity.in_guest() == known
    (tmp_path / "cmdline").write_text("/sbin/init\0")
    assert not identity.in_guest()
    assert identity.PORT == init.PORT
    nowhere = Path("/none")
    shape = qemu.Shape(1, 256, "tcg", "7.2.22", "pc-q35-7.2")
    words = qemu.argv(shape, qemu.Parts(nowhere, False, nowhere, nowhere, nowhere, nowhere, 0, 0))
    assert f"virtserialport,chardev=line,name={identity.PORT},nr=1" in words


def test_the_program_for_guests_is_whole_and_always_the_same():
    names = set(zipfile.ZipFile(io.BytesIO(program.program())).namelist())
    assert {"executors/vmclone/guest.py", "executors/site/keeper.py", "executors/site/agent.py"} <= names
    assert not [name for name in names if "ec2" in name or "ray" in name or "provider" in name]
    before = program.program()
    program.program.cache_clear()
    assert program.program() == before


# ── the provider, where QEMU is a script that tells its version ──


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    programs = tmp_path / "bin"
    programs.mkdir()
    said = 'case $1 in --version) echo "QEMU emulator version 7.2.22";; *) echo "q35  Q35 (alias of pc-q35-7.2)";; esac'
    for name, text in ((qemu.QEMU, said), (qemu.IMAGES, "exit 1"), ("mmdebstrap", "exit 1"), ("mkfs.ext4", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _forget()
    home = str(tmp_path / "home")
    yield Surroundings("f1", "p", home, home, f"{home}/store", "plain", timedelta(seconds=60), image="bookworm")
    _forget()


def _forget() -> None:
    qemu.version.cache_clear()
    qemu.machine.cache_clear()


def test_without_qemu_one_line_says_what_to_install(around: Surroundings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match=r"VM clones need qemu-system-x86_64, qemu-img: apt-get install .* qemu-utils"):
        provider({}, around).launch(Order("a", "p", 1, 1))


def test_while_the_template_is_made_nothing_is_placed_and_a_failure_is_told_once(around: Surroundings):
    """The builder fails at once: this QEMU is none."""
    made = provider({}, around)
    failed = folder_of(made.spec(1)).with_suffix(".failed")
    with pytest.raises(Throttled, match=r"the template of the clones is being made, see .*\.log"):
        made.launch(Order("a", "p", 1, 1))
    made._builder.wait(60)
    assert failed.exists()
    with pytest.raises(Refused):
        made.launch(Order("a", "p", 1, 1))
    assert not failed.exists()
    assert made.machines() == []


def test_what_is_frozen_together_has_one_name_and_nothing_else_has(around: Surroundings):
    def name(slots: int = 1, **options: object) -> str:
        return folder_of(provider(options, around).spec(slots)).name

    assert name() == name(ceiling=9, price_per_hour="0.1")
    others = {name(), name(2), name(mib=1024), name(packages=["povray"]), name(warm="true"), name(accel="kvm")}
    assert len(others) == 6


def test_options_that_make_no_sense_are_refused(around: Surroundings):
    with pytest.raises(Refused, match="there is no option mb, did you mean mib"):
        provider({"mb": 1}, around)
    with pytest.raises(Refused, match="mib: Input should be greater than or equal to 256"):
        provider({"mib": 255}, around)
    with pytest.raises(Refused, match="clones work beside the farm"):
        provider({}, Surroundings(**{f: getattr(around, f) for f in around.__slots__} | {"network": "outbound"}))


def test_a_newer_qemu_reads_the_state_by_its_name(around: Surroundings):
    form = provider({}, around).spec(1).shape
    assert qemu.state_uri(form, Path("/t/state"), 7) == "fd:7"
    newer = qemu.Shape(1, 512, "tcg", "8.2.0", "pc-q35-8.2")
    assert qemu.state_uri(newer, Path("/t/state"), 7) == "file:/t/state"


def test_a_debian_that_can_not_be_made_is_told_by_what_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image, "mirrors", lambda _release: "")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "unshare").write_text("#!/bin/sh\necho E: no such release >&2\nexit 25\n")
    (tmp_path / "unshare").chmod(0o700)
    said = r"no Debian 'wooden' could be made: look at the pool's image, packages and setup; unshare failed \(25\)"
    with pytest.raises(Refused, match=said):
        image._debian(Recipe("wooden"), tmp_path)


# ── templates ahead of time, as a person asks for them ──


@pytest.fixture
def farm(tmp_path: Path, around: Surroundings) -> Shell:
    home = tmp_path / "farm"
    home.mkdir()
    (home / "farm.toml").write_text('[pools.local]\nprovider = "local"\n[pools.clones]\nprovider = "vmclone"\n')
    return Shell(home, tmp_path)


def test_what_can_be_made_ahead_is_made_and_what_cannot_is_told(farm: Shell):
    assert farm.json("template", "list") == {"templates": []}
    farm("template", "build", "clone", status=2)
    assert "there is no pool 'clone'; did you mean 'clones'?" in farm.err
    farm("template", "build", "local", status=2)
    assert "pool 'local' needs no template" in farm.err
    farm("template", "build", status=3)  # this QEMU is a script, and nothing makes disks here
    assert "pool 'clones'" in farm.err
    assert "Traceback" not in farm.err
