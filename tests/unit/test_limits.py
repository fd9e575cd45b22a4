"""What an attempt may use, and what one that behaves badly can do to others: nothing. On every rung of the ladder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.site.limits import LONG_S, Broken, Limits, size
from executors.site.spooler import Spooler
from tests.contract.yard import commands_with, eventually
from tests.unit.keeping import CAGED, HOLDS, Talk, item

EAT = "import sys, time; x = b'x' * (int(sys.argv[1]) << 20); print('full', flush=True); time.sleep(60)"
MIB = 1 << 20


@pytest.fixture(params=HOLDS, ids=str)
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    talk = Talk(request.param)
    yield talk
    talk.close()


@pytest.fixture(params=[*HOLDS, *CAGED], ids=str)
def held(request: pytest.FixtureRequest) -> Iterator[Talk]:
    """With control groups too."""
    talk = Talk(request.param)
    yield talk
    talk.close()


@pytest.fixture
def best() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.close()


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """An argument of `sleep` that nobody else has."""
    return f"7{abs(hash(request.node.name)) % 10**6}.{os.getpid()}"


def well(talk: Talk, mark: str = "") -> None:
    """The next attempt of the slot runs as if nothing had been, and nothing has been left."""
    talk.run(item("next", "sh", "-c", "echo well; ls -A"))
    (end,) = talk.until("next")
    assert (end[3], end[4], end[5], talk.output(end)) == (0, "", "", b"well\n")
    assert not (mark and commands_with(mark))
    assert talk.cage.inside() == []


def test_sizes_are_readable():
    assert [size(n) for n in (1, 1023, 1024, 1 << 30, 1288490189)] == [
        "1 bytes",
        "1023 bytes",
        "1 KiB",
        "1 GiB",
        "1.2 GiB",
    ]


# ── limits ───────────────────────────────────────────────────────────────────────────────────────


def test_what_keeps_its_limits_is_left_alone(held: Talk):
    limits = {"timeout_s": 60, "silence_s": 60, "output_bytes": 100, "memory_bytes": 500 * MIB, "processes": 50}
    held.run(item("a", "sh", "-c", "sleep 0.4 & wait; echo fine", **limits), item("b", "no-such", **limits))
    a, b = held.until("a", "b")
    assert (a[3], a[4], a[5], held.output(a)) == (0, "", "", b"fine\n")
    assert (b[3], b[4]) == (127, "no-program")
    well(held)


def test_too_long(talk: Talk, mark: str):
    talk.run(item("a", "sh", "-c", f"sleep {mark}", timeout_s=0.2))
    (end,) = talk.until("a")
    assert (end[3], end[4]) == (-signal.SIGTERM, "timeout")
    assert end[5].startswith("it ran for 0.")
    assert end[5].endswith(" s, its limit is 0.2 s")
    well(talk, mark)


def test_too_silent(talk: Talk, mark: str):
    talk.run(item("a", "sh", "-c", f"echo 1; sleep {mark}", silence_s=0.3))
    (end,) = talk.until("a")
    assert (end[3], end[4], talk.output(end)) == (-signal.SIGTERM, "silence", b"1\n")
    assert "wrote nothing for" in end[5]
    assert end[5].endswith("its limit is 0.3 s")
    well(talk, mark)


def test_each_byte_ends_the_silence():
    limits = Limits({"silence_s": 10.0, "timeout_s": 30.0}, 100.0)
    limits.look_at = 1000.0
    limits.wrote(1, 109.0)
    assert limits.broken(118.9) is None
    assert min(limits.due()) == 119.0
    assert limits.broken(119.0) == Broken("silence", "it wrote nothing for 10.0 s, its limit is 10 s", LONG_S)
    limits.wrote(1, 129.0)
    assert limits.broken(130.5) == Broken("timeout", "it ran for 30.5 s, its limit is 30 s", LONG_S)


def test_too_wordy(talk: Talk):
    talk.run(item("a", "yes", "and again", output_bytes=MIB))
    (end,) = talk.until("a")
    assert (end[3], end[4]) == (-signal.SIGTERM, "output")
    assert end[5].startswith("it wrote ")
    assert "its limit is 1 MiB" in end[5]
    well(talk)


def test_too_wordy_is_found_at_the_end_too(talk: Talk):
    talk.run(item("a", "echo", "too much", output_bytes=5))
    (end,) = talk.until("a")
    assert (end[4], end[5]) == ("output", "it wrote 9 bytes, its limit is 5 bytes")


def test_too_much_memory(held: Talk):
    held.run(item("a", held.python, "-c", EAT, "200", memory_bytes=100 * MIB))
    (end,) = held.until("a")
    assert (end[4], "its limit" in end[5], "100 MiB" in end[5]) == ("memory", True, True)
    assert end[3] in (-signal.SIGTERM, -signal.SIGKILL)
    well(held)


def test_too_much_memory_together(held: Talk):
    both = '"$0" -c "$1" 70 & "$0" -c "$1" 70 & wait'
    held.run(item("a", "sh", "-c", both, held.python, EAT, memory_bytes=110 * MIB))
    (end,) = held.until("a")
    assert end[4] == "memory"
    well(held)


def test_memory_that_is_shared_counts_once(held: Talk):
    """Four processes that share 60 MiB do not hold 240."""
    fork = "import os, time; x = b'x' * (60 << 20); any(os.fork() == 0 for _ in range(3)); time.sleep(0.8)"
    held.run(item("a", held.python, "-c", fork, memory_bytes=150 * MIB))
    (end,) = held.until("a")
    assert (end[3], end[4], end[5]) == (0, "", "")


def test_too_many_processes(held: Talk, mark: str):
    many = f"for n in 1 2 3 4 5 6 7 8 9; do sleep {mark} & done; wait; sleep {mark}"
    held.run(item("a", "sh", "-c", many, processes=5))
    (end,) = held.until("a")
    assert end[4] == "processes"
    assert "5" in end[5]
    assert "limit" in end[5]
    well(held, mark)


def test_those_that_multiply_are_ended(held: Talk, mark: str):
    """Bounded by itself too: a test must never take the machine."""
    bomb = f"n=0; while [ $n -lt 200 ]; do sleep {mark} & n=$((n+1)); done; wait"
    held.run(item("a", "sh", "-c", bomb, processes=40))
    (end,) = held.until("a")
    assert end[4] == "processes"
    well(held, mark)


if CAGED:

    @pytest.fixture(params=CAGED, ids=str)
    def caged(request: pytest.FixtureRequest) -> Iterator[Talk]:
        talk = Talk(request.param)
        yield talk
        talk.close()

    def test_the_kernels_own_count_holds_though_nobody_looked(caged: Talk):
        caged.run(
            item("a", caged.python, "-c", EAT.replace("60)", "0)"), "200", memory_bytes=100 * MIB),
            item("b", "sh", "-c", '"$0" -c "$1" 200 || true', caged.python, EAT, memory_bytes=100 * MIB),
            item(
                "c",
                "sh",
                "-c",
                "(sleep 0.1 & sleep 0.1 & sleep 0.1 & sleep 0.1 & wait) 2> /dev/null; exit 0",
                processes=2,
            ),
        )
        a, b, c = caged.until("a", "b", "c")
        assert [a[4], b[4], c[4]] == ["memory", "memory", "processes"]
        well(caged)

    def test_a_limit_below_what_a_process_needs(caged: Talk):
        caged.run(item("a", caged.python, "-c", EAT, "1", memory_bytes=64 << 10), item("b", "true", processes=1))
        a, b = caged.until("a", "b")
        assert (a[4], b[3], b[4]) == ("memory", 0, "")
        well(caged)


def test_killed_by_somebody_else(talk: Talk):
    talk.run(
        item("a", "sh", "-c", "kill -9 $$"), item("b", "sh", "-c", "exit 137"), item("c", "sh", "-c", "kill -15 $$")
    )
    a, b, c = talk.until("a", "b", "c")
    assert [(e[3], e[4]) for e in (a, b, c)] == [(-9, ""), (137, ""), (-15, "")]
    assert "maybe out of memory" in a[5]
    assert "maybe out of memory" in b[5]
    assert not c[5]


def test_usage_is_that_of_the_whole_tree(held: Talk):
    """A child that was never waited for, and two that hold memory at once."""
    spin = "(i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; touch spun) & until [ -e spun ]; do sleep 0.02; done"
    hold = "import os, time; x = b'x' * (60 << 20); open(str(os.getpid()), 'w')\n"
    hold += "while len(os.listdir('.')) < 2: time.sleep(0.02)\ntime.sleep(0.8)"
    held.run(
        item("a", "sh", "-c", spin),
        item("b", "sh", "-c", '"$0" -c "$1" & "$0" -c "$1" & wait', held.python, hold, memory_bytes=999 * MIB),
    )
    a, b = held.until("a", "b")
    assert a[6] > 10
    assert b[7] > 110 << 10


# ── bad behaviour ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "script",
    [
        "(setsid sh -c 'setsid sleep MARK > /dev/null 2>&1 < /dev/null & exit' &) ; exit 0",
        "trap '' TERM HUP INT; sleep MARK & sleep MARK & exit 0",
        "exec > /dev/null 2>&1; exec 0<&- 1>&- 2>&-; sleep MARK &",
        "sh -c 'kill -STOP $$' & sleep MARK & exit 0",
        "mkdir -p deep/er; touch deep/er/file; chmod 0 deep; exec sleep 0",
        "(sleep 0.05; exec yes) & (sleep 0.05; exec sleep MARK) & exit 0",
    ],
    ids=["daemon", "deaf", "closed", "stopped", "dirty", "chatty orphan"],
)
def test_an_attempt_that_leaves_things_behind(talk: Talk, mark: str, script: str):
    talk.run(item("a", "sh", "-c", script.replace("MARK", mark)))
    (end,) = talk.until("a")
    assert (end[3], end[4]) == (0, "")
    well(talk, mark)


def test_closed_pipes_do_not_end_an_attempt(talk: Talk):
    talk.run(item("a", "sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 3"))
    assert talk.until("a")[0][3] == 3
    well(talk)


def test_one_that_stops_itself(talk: Talk, mark: str):
    talk.run(item("a", "sh", "-c", f"sleep {mark} & kill -STOP $$", timeout_s=0.3))
    (end,) = talk.until("a")
    assert (end[3], end[4]) == (-signal.SIGTERM, "timeout")
    well(talk, mark)


def test_cancelling_one_that_is_stopped_does_not_wait_for_the_grace(talk: Talk, mark: str):
    talk.run(item("a", "sh", "-c", f"sleep {mark} & kill -STOP $$"))
    talk.until_started("a")
    talk.line.say({"cancel": "a", "grace": 600})
    assert talk.until("a")[0][3:5] == [-signal.SIGTERM, "cancelled"]
    well(talk, mark)


def test_one_that_kills_its_parent(talk: Talk, mark: str):
    """Above, there is nobody in its namespace whom it could reach; on the floor nothing outlives the keeper."""
    talk.run(item("a", "sh", "-c", f"setsid sleep {mark} & sleep 0.1; kill -9 $PPID; exec sleep {mark}", timeout_s=0.6))
    if talk.line.alone:
        talk.until("a")
        well(talk, mark)
        return
    while talk.listen():
        pass
    eventually(lambda: not commands_with(mark))


def test_a_killed_keeper_leaves_nothing(held: Talk, mark: str):
    held.run(item("a", "sh", "-c", f"setsid sleep {mark} & sleep {mark}", processes=10))
    held.until_started("a")
    eventually(lambda: len(commands_with(f"sleep {mark}")) >= 2)
    os.kill(held.line.pid, signal.SIGKILL)
    while held.listen():
        pass
    held.line.close()
    eventually(lambda: not commands_with(mark))
    assert held.cage.inside() == []


def test_a_frozen_keeper_can_be_closed(held: Talk, mark: str):
    held.run(item("a", "sh", "-c", f"setsid sleep {mark} & sleep {mark}", processes=10))
    held.until_started("a")
    eventually(lambda: len(commands_with(f"sleep {mark}")) >= 2)
    os.kill(held.line.pid, signal.SIGSTOP)
    held.line.close()
    eventually(lambda: not commands_with(mark))
    assert held.cage.inside() == []


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────


def spooled(folder: Path, *writes: bytes, head: int = 10, tail: int = 8) -> tuple[bytes, str]:
    """What is kept of an attempt, and what is said about it; another one came before."""
    spool = Spooler(str(folder), "0", head, tail)
    spool.add(b"before")
    spool.end()
    lo = spool.begin("")
    for data in writes:
        spool.add(data)
    said = spool.end()
    spool.flush()
    assert spool.begin("") == spool.size
    return (folder / spool.name).read_bytes()[lo:], said


def test_little_is_kept_whole(tmp_path: Path):
    assert spooled(tmp_path, b"01234", b"56789") == (b"0123456789", "")
    assert spooled(tmp_path, b"0123456789abcde", b"fgh") == (b"0123456789abcdefgh", "")


@pytest.mark.parametrize("step", [1, 3, 5, 8, 100])
def test_of_much_the_ends_are_kept_and_the_cut_is_marked(tmp_path: Path, step: int):
    written = bytes(33 + n % 90 for n in range(1234))
    kept, said = spooled(tmp_path, *(written[n : n + step] for n in range(0, len(written), step)))
    assert kept == written[:10] + b"\n[farm: 1,216 bytes were cut here]\n" + written[-8:]
    assert said == "1,216 bytes were cut from the middle of its log"


def test_one_that_never_stops_writing_keeps_64_mib(best: Talk):
    best.run(item("a", "sh", "-c", "yes 'all work and no play' | head -c 300000000; echo; echo THE END; exit 7"))
    (end,) = best.until("a")
    kept = best.output(end)
    assert (end[3], end[4], end[5]) == (7, "", "exit 7; 232,891,145 bytes were cut from the middle of its log")
    assert kept.startswith(b"all work and no play\nall work")
    assert kept.endswith(b"\nTHE END\n")
    assert len(kept) == (64 << 20) + len(b"\n[farm: 232,891,145 bytes were cut here]\n")
    well(best)
    assert best.done["next"][7] < 30 << 10  # what the keeper held meanwhile is not the next one's


# ── the guard ────────────────────────────────────────────────────────────────────────────────────

AGENT = """
import sys, threading
from pathlib import Path
from executors.site.line import Line
from executors.site.rung import FLOOR
line = Line(Path(sys.argv[1]), 0, {"PATH": "/usr/bin:/bin"}, FLOOR)
mark = sys.argv[2]
script = f"setsid sleep {mark} & trap '' TERM; sleep {mark}; sleep {mark}"
line.say({"run": [["a", ["sh", "-c", script], {}, "", "", {}, []]]})
while not any("started" in word for word in line.hear()):
    pass
print(line.pid, flush=True)
threading.Event().wait(600)
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["", "its keeper frozen"])
def test_a_killed_agent_leaves_nothing_where_there_are_no_namespaces(tmp_path: Path, mark: str, frozen: bool):
    (tmp_path / "spool").mkdir()
    root = str(Path(__file__).parents[2])
    words = [sys.executable, "-c", AGENT, tmp_path, mark]
    with subprocess.Popen(words, cwd=root, env={"PYTHONPATH": root}, stdout=subprocess.PIPE) as agent:
        assert agent.stdout
        keeper = int(agent.stdout.readline())
        eventually(lambda: len(commands_with(f"sleep {mark}")) >= 2)
        if frozen:
            os.kill(keeper, signal.SIGSTOP)
        agent.kill()
    eventually(lambda: not commands_with(mark) and not commands_with(str(tmp_path)))
