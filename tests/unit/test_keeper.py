"""The keeper of a slot, spoken to over its line, on every rung that this machine has."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from executors.site import keeper
from executors.site.brood import Brood
from executors.site.cage import Cage
from executors.site.limits import Limits
from executors.site.rung import FLOOR, rung
from executors.site.spooler import Spooler
from tests.contract.yard import commands_with, eventually
from tests.unit.keeping import HOLDS, RUNGS, Talk, item


@pytest.fixture(params=HOLDS, ids=str)
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    talk = Talk(request.param)
    yield talk
    talk.close()


@pytest.fixture
def best() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.close()


def test_the_floor_holds_everywhere():
    assert FLOOR in RUNGS
    assert rung() in RUNGS
    assert FLOOR.loses


def test_a_batch_runs_in_order_with_its_output(talk: Talk):
    talk.run(*(item(f"a{n}", "sh", "-c", f"echo {n}; exit {n}") for n in range(5)))
    ends = talk.until(*(f"a{n}" for n in range(5)))
    assert talk.order == [f"a{n}" for n in range(5)]
    assert [e[3] for e in ends] == [0, 1, 2, 3, 4]
    assert [talk.output(e) for e in ends] == [b"%d\n" % n for n in range(5)]
    assert all(0 < e[1] <= e[2] for e in ends)


def test_nothing_outlives_its_attempt(talk: Talk):
    mark = f"9101.{os.getpid()}"
    deep = f"setsid sh -c 'setsid sleep {mark} & (sleep {mark} &) ; sleep {mark}' & echo away"
    talk.run(item("a", "sh", "-c", deep), item("b", "true"))
    talk.until("b")
    assert talk.done["a"][3] == 0
    assert not commands_with(f"sleep {mark}")


def test_cancel_ends_what_ignores_it(talk: Talk):
    mark = f"9102.{os.getpid()}"
    talk.run(item("a", "sh", "-c", f"trap '' TERM; setsid sleep {mark} & sleep {mark}; sleep {mark}; sleep {mark}"))
    talk.until_started("a")
    eventually(lambda: len(commands_with(f"sleep {mark}")) >= 2)
    talk.line.say({"cancel": "a", "grace": 0.2})
    (end,) = talk.until("a")
    assert (end[3], end[4]) == (-signal.SIGKILL, "cancelled")
    assert not commands_with(f"sleep {mark}")


def test_the_end_of_the_line_ends_everything(talk: Talk):
    mark = f"9103.{os.getpid()}"
    talk.run(item("a", "sh", "-c", f"setsid sleep {mark} & sleep {mark}"))
    talk.until_started("a")
    eventually(lambda: len(commands_with(f"sleep {mark}")) >= 2)
    talk.line.close()
    eventually(lambda: not commands_with(f"sleep {mark}"))


def test_a_gentle_task_may_finish_within_the_grace(best: Talk):
    best.run(item("a", "sh", "-c", "trap 'echo bye; exit 9' TERM; echo up; sleep 60 & wait"))
    best.until_started("a")
    eventually(lambda: b"up" in (best.folder / "spool" / "0-1").read_bytes())
    best.line.say({"cancel": "a", "grace": 30})
    (end,) = best.until("a")
    assert (end[3], end[4], best.output(end)) == (9, "cancelled", b"up\nbye\n")


def test_what_has_not_begun_can_be_cancelled_or_taken_back(best: Talk):
    best.run(item("a", "sleep", "60"), item("b", "true"), item("c", "true"), item("d", "true"))
    best.until_started("a")
    best.line.say({"cancel": "b", "grace": 1})
    (end,) = best.until("b")
    assert (end[1], end[4]) == (0, "cancelled")
    best.line.say({"recall": 1})
    while not best.back:
        best.listen()
    assert best.back == ["c", "d"]
    best.line.say({"cancel": "a", "grace": 1})
    best.until("a")


def test_time_limits_hold(best: Talk):
    best.run(item("a", "sleep", "60", timeout_s=0.1), item("b", "true", timeout_s=5))
    late, fine = best.until("a", "b")
    assert (late[4], fine[4]) == ("timeout", "")
    assert 0.1 <= (late[2] - late[1]) / 1e9 < 5


@pytest.mark.parametrize(
    ("argv", "code", "cause", "text"),
    [
        (["no-such"], 127, "no-program", "no program no-such"),
        (["./no-such"], 127, "no-program", "./no-such"),
        (["/etc/passwd"], 126, "no-program", "/etc/passwd can't be started: Permission denied"),
        (["/bin"], 126, "no-program", "/bin"),
        ([], 127, "no-program", "no command"),
        (["true", "nul\0"], 126, "no-program", "true can't be started"),
        (["true", "x" * (1 << 18)], 126, "no-program", "Argument list too long"),
    ],
)
def test_what_can_not_be_started_says_why(best: Talk, argv: list[str], code: int, cause: str, text: str):
    best.run(item("a", *argv), item("b", "echo", "still here"))
    bad, good = best.until("a", "b")
    assert (bad[3], bad[4]) == (code, cause)
    assert text in bad[5]
    assert best.output(good) == b"still here\n"


def test_a_folder_that_is_missing_says_so(best: Talk):
    best.run(item("a", "true", cwd="/no/such/folder"), item("b", "pwd"))
    bad, good = best.until("a", "b")
    assert (bad[3], bad[4]) == (126, "cwd")
    assert "/no/such/folder" in bad[5]
    assert best.output(good) == f"{best.line.scratch}\n".encode()


def test_scripts_run_with_and_without_a_first_line(best: Talk, tmp_path: Path):
    for name, text in [("plain", "echo plain $1"), ("marked", "#!/bin/sh\necho marked $1"), ("lost", "#!/no/sh\n")]:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    best.run(*(item(name, f"./{name}", "x", cwd=str(tmp_path)) for name in ("plain", "marked", "lost")))
    plain, marked, lost = best.until("plain", "marked", "lost")
    assert (best.output(plain), best.output(marked)) == (b"plain x\n", b"marked x\n")
    assert (lost[3], "interpreter" in lost[5]) == (127, True)


SPOILT = (
    'chmod 0 "$TMPDIR"',
    'chmod 400 "$TMPDIR"',
    'rmdir "$TMPDIR"; touch "$TMPDIR"',
    'rmdir "$TMPDIR"; ln -s / "$TMPDIR"',
)


@pytest.mark.parametrize("script", SPOILT)
def test_a_task_that_spoils_its_folder_harms_none_after_it(talk: Talk, script: str):
    talk.run(item("a", "sh", "-c", f"cd /; {script}"), item("b", "sh", "-c", "pwd; touch x"))
    spoilt, good = talk.until("a", "b")
    assert (spoilt[3], good[3], talk.output(good)) == (0, 0, f"{talk.line.scratch}\n".encode())


def test_scratch_is_emptied_and_comes_back(best: Talk):
    outside = best.folder / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    dirt = f"mkdir -p a/b; touch a/b/c .d; ln -s {outside} link; chmod 0 a"
    best.run(
        item("a", "sh", "-c", dirt), item("b", "ls", "-A"), item("c", "sh", "-c", 'rmdir "$PWD"'), item("d", "pwd")
    )
    _, b, _, d = best.until("a", "b", "c", "d")
    assert best.output(b) == b""
    assert best.output(d) == f"{best.line.scratch}\n".encode()
    assert (outside / "kept").exists()


def test_signals_and_files_are_fresh(best: Talk):
    best.run(item("a", "grep", "Sig[BI]", "/proc/self/status"), item("b", "/usr/bin/env", "ls", "/proc/self/fd"))
    a, b = best.until("a", "b")
    masks = [line.split()[1] for line in best.output(a).decode().splitlines()]
    assert [int(mask, 16) & 0x7FFFFFFF for mask in masks] == [0, 0]  # 32 and 33 are the C library's own
    assert best.output(b).split() == [b"0", b"1", b"2", b"3"]


def test_usage_is_measured(best: Talk):
    best.run(item("a", "sh", "-c", "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done"))
    (end,) = best.until("a")
    assert 1 <= end[6] <= (end[2] - end[1]) / 1e6 + 20
    assert end[7] > 500


def test_owners_never_share_a_spool(best: Talk):
    best.run(
        item("a", "echo", "1", owner="ann"), item("b", "echo", "2", owner="ann"), item("c", "echo", "3", owner="bob")
    )
    a, b, c = best.until("a", "b", "c")
    assert a[8] == b[8] != c[8]
    assert (c[9], best.output(c)) == (0, b"3\n")


def test_a_chatty_task_loses_nothing_and_holds_nobody(best: Talk):
    best.run(
        item("a", "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; head -c 5000000 /dev/zero")
    )
    (end,) = best.until("a")
    lines = b"".join(b"%d\n" % n for n in range(3000))
    assert best.output(end) == lines + bytes(5_000_000)


def test_quick_tasks_are_reported_once_and_slow_ones_when_they_start(best: Talk):
    quick = [str(n) for n in range(20)]  # on a busy machine some are slow
    best.run(*(item(name, "true") for name in quick), item("b", "sleep", "0.3"))
    best.until(*quick, "b")
    assert "b" in best.started
    assert len(best.started) < 20


def test_a_spool_is_numbered_on(tmp_path: Path):
    first = Spooler(str(tmp_path), "3")
    first.add(b"x")
    first.flush()
    assert (first.name, Spooler(str(tmp_path), "3").name, Spooler(str(tmp_path), "33").name) == ("3-1", "3-2", "33-1")


def test_batches_keep_up_with_a_bare_loop(best: Talk):
    """The measured ratio is about 1; a fortieth only fails when every task pays for something it should not."""
    count = 400
    began = time.perf_counter()
    for _ in range(count):
        os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)
    bare = time.perf_counter() - began
    best.run(item("warm", "true"))
    best.until("warm")
    began = time.perf_counter()
    best.run(*(item(f"a{n}", "true") for n in range(count)))
    best.until(*(f"a{n}" for n in range(count)))
    assert bare / (time.perf_counter() - began) > 0.025


def test_a_keeper_that_is_not_alone_does_not_believe_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It would kill(-1): so what comes after the check is taken away, should the check ever be."""
    monkeypatch.delattr(keeper, "settle")
    with pytest.raises(SystemExit, match="not pid 1"):
        keeper.main(str(tmp_path), "0", str(tmp_path / "scratch"), "alone")


@dataclass
class Confining:
    """A keeper that does not run, and its groups, which are but files: what it did with them, in order."""

    keeper: keeper.Keeper
    folder: Path
    did: list[str]

    def locked(self, *names: str) -> None:
        """Nobody gets into these: `m` and `p` for either hierarchy, then 0.1 or home."""
        for name in names:
            (self.folder / name / "cgroup.procs").mkdir(parents=True)

    def run(self) -> Limits:
        limits = Limits({"processes": 5, "memory_bytes": 1 << 30}, time.monotonic())
        assert self.keeper.confined(item("a", "true"), limits) == 4711
        return limits


@pytest.fixture
def confining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Confining:
    it = Confining(keeper.Keeper.__new__(keeper.Keeper), tmp_path, [])
    base = Cage(str(tmp_path / "m"), str(tmp_path / "p"))
    it.keeper.cage, it.keeper.home, it.keeper.cages = base, base.below("home"), 0
    base.below("home").make()
    (tmp_path / "spool").mkdir()
    it.keeper.spool = Spooler(str(tmp_path / "spool"), "0")
    join = Cage.join

    def joined(cage: Cage) -> None:
        join(cage)
        it.did.append(f"join {cage.name}")

    monkeypatch.setattr(Cage, "join", joined)
    monkeypatch.setattr(Cage, "remove", lambda cage: it.did.append(f"remove {cage.name}"))
    monkeypatch.setattr(it.keeper, "spawn", lambda _: it.did.append("spawn") or 4711)
    return it


def test_a_keeper_steps_into_a_group_and_out(confining: Confining):
    assert confining.run().meter.cage.name == "0.1"
    assert confining.did == ["join 0.1", "spawn", "join home"]


def test_a_keeper_that_gets_into_half_a_group_leaves_before_it_is_taken_away(confining: Confining):
    """Or it would end itself with what is in there."""
    confining.locked("p/0.1")
    assert not confining.run().meter.cage
    assert confining.did == ["join home", "remove 0.1", "spawn"]


def test_a_keeper_that_can_not_leave_ends_nothing_in_there(confining: Confining):
    confining.locked("p/home")
    assert not confining.run().meter.cage
    assert confining.did == ["join 0.1", "spawn"]


def test_output_that_its_task_has_read_itself_ends_no_keeper(monkeypatch: pytest.MonkeyPatch):
    """Between the question how much there is and the reading: /dev/stdout can be opened for reading, too."""
    monkeypatch.setattr(keeper, "waiting", lambda _pipe: 5)
    source, sink = os.pipe()
    os.set_blocking(source, False)
    made = keeper.Keeper.__new__(keeper.Keeper)
    made.source, made.limits, made.blot = source, None, None
    assert made.drain() == 0
    os.close(source)
    os.close(sink)


def test_each_end_is_told_with_the_gap_of_its_own_output(confining: Confining, monkeypatch: pytest.MonkeyPatch):
    it, said = confining.keeper, []
    monkeypatch.setattr(it, "say", lambda **words: said.append(words))
    it.brood, it.bulky = Brood(), False
    it.spool.gaps = [(it.spool.name, 0, 5)]
    first, second = [
        [name, 0, 0, 0, "", "", 0, 0, it.spool.name, *where] for name, *where in (("a", 0, 3), ("b", 3, 5))
    ]
    it.done = [first]
    it.report()
    it.done = [second]
    it.report()
    told = [end[5] for words in said for end in words["done"]]
    assert [text.split(": ")[1] for text in told] == ["3 bytes of output are missing", "2 bytes of output are missing"]
