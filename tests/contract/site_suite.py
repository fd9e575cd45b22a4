"""What every Site must do. Subclass SiteSuite and say how its yard is made."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest

from executors.contract import PYTHON, EventKind, FileRef
from executors.errors import Lost
from tests.contract.yard import Yard, eventually

STUBBORN = "trap '' TERM; setsid sh -c \"trap '' TERM; sleep {mark}; sleep {mark}\" & sleep {mark}; sleep {mark}"


class SiteGround:
    """What tests of a site stand on: a yard for all of a class."""

    @classmethod
    def make_yard(cls) -> Yard:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def yard(cls) -> Iterator[Yard]:
        yard = cls.make_yard()
        yield yard
        yard.close()

    @pytest.fixture(scope="class")
    @classmethod
    def on(cls, yard: Yard) -> str:
        """An executor of two slots that no test ends."""
        return yard.lasting(2)


class SiteSuite(SiteGround):
    """Attempt numbers are chosen per test: one executor serves most of them."""

    def test_attach_again_changes_nothing(self, yard: Yard, on: str):
        yard.site.attach(on, 2)
        assert yard.ready().count(on) == 1
        assert next(r.slots for r in yard.site.ready() if r.executor == on) == 2

    def test_output_exit_and_order_of_events(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("1.1.1", "sh", "-c", "echo out; echo err >&2; exit 3", token=77))
        assert (end.exit, end.cause, end.token) == (3, "", 77)
        assert 0 < end.started <= end.at
        assert yard.log("1.1.1") == b"out\nerr\n"
        assert end.hi - end.lo == 8
        kinds = [e.kind for e in yard.seen if e.attempt == "1.1.1"]
        assert kinds[-1] is EventKind.FINISHED

    def test_a_signal_is_a_negative_exit(self, yard: Yard, on: str):
        assert yard.result(on, yard.work("1.2.1", "sh", "-c", "kill -SEGV $$")).exit == -signal.SIGSEGV

    def test_the_executors_own_python(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("1.3.1", PYTHON, "-c", "import sys; print(sys.version_info >= (3, 11))"))
        assert (end.exit, yard.log("1.3.1")) == (0, b"True\n")

    def test_starting_twice_runs_once(self, yard: Yard, on: str):
        work = yard.work("2.1.1", "sh", "-c", "echo once; sleep 0.1")
        yard.site.start([work], on)
        yard.site.start([work, work], on)
        yard.until("2.1.1")
        yard.site.start([work], on)
        yard.result(on, yard.work("2.2.1", "true"))
        assert yard.log("2.1.1") == b"once\n"
        assert [e.attempt for e in yard.finished()].count("2.1.1") == 1

    def test_a_program_that_does_not_exist(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("3.1.1", "no-such-program", "x"))
        assert (end.exit, end.cause) == (127, "no-program")
        assert "no-such-program" in end.message

    def test_the_environment_is_the_works_own(self, yard: Yard, on: str):
        command = "env; pwd; echo scratch $FARM_SCRATCH; touch left-behind"
        yard.result(on, yard.work("3.2.1", "sh", "-c", command, env={"COLOUR": "green"}))
        lines = yard.log("3.2.1").decode().split("\n")
        names = {line.partition("=")[0] for line in lines if "=" in line}
        assert "COLOUR=green" in lines
        assert names <= {"COLOUR", "PATH", "HOME", "USER", "LANG", "TMPDIR", "FARM_SCRATCH", "PWD", "SHLVL", "_"}
        assert lines[-2].split()[1] == lines[-3]

    def test_scratch_is_empty_for_each(self, yard: Yard, on: str):
        for n in range(1, 5):
            yard.result(on, yard.work(f"3.3.{n}", "sh", "-c", "ls -A; mkdir -p a/b; touch a/b/c .hidden"))
            assert yard.log(f"3.3.{n}") == b""

    def test_earlier_output_survives_a_truncating_task(self, yard: Yard, on: str):
        yard.result(on, yard.work("3.4.1", "sh", "-c", "echo first; echo second > /dev/stderr; echo third"))
        assert yard.log("3.4.1") == b"first\nsecond\nthird\n"

    def test_output_is_seen_while_the_task_runs(self, yard: Yard, on: str):
        yard.site.start([yard.work("4.1.1", "sh", "-c", "echo early; exec sleep 600")], on)
        eventually(lambda: yard.look() is not None and yard.log("4.1.1") == b"early\n")
        assert not any(e.attempt == "4.1.1" for e in yard.finished())
        yard.site.cancel(["4.1.1"])
        assert yard.until("4.1.1")[0].cause == "cancelled"

    def test_a_lot_of_output_is_complete(self, yard: Yard, on: str):
        yard.result(on, yard.work("4.2.1", "seq", "300000"))
        assert yard.log("4.2.1") == b"".join(b"%d\n" % n for n in range(1, 300001))

    def test_time_limit(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("5.1.1", "sleep", "600", timeout_s=0.2))
        assert end.cause == "timeout"
        assert 0.2 <= (end.at - end.started) / 1e9 < 5

    def test_cancel_ends_stubborn_trees_and_nothing_else(self, yard: Yard):
        on, mark = yard.executor(2), f"8111.{os.getpid()}"
        yard.site.start([yard.work("6.1.1", "sh", "-c", STUBBORN.format(mark=mark))], on)
        yard.site.start([yard.work("6.2.1", "sh", "-c", "echo on; sleep 6; echo still here")], on)
        yard.until_started("6.1.1")
        yard.until_started("6.2.1")
        eventually(lambda: len(yard.commands_with(f"sleep {mark}")) >= 2)
        yard.site.cancel(["6.1.1", "no-such-attempt"])
        cancelled, other = yard.until("6.1.1", "6.2.1")
        assert (cancelled.cause, cancelled.exit) == ("cancelled", -signal.SIGKILL)
        assert (other.exit, yard.log("6.2.1")) == (0, b"on\nstill here\n")
        assert not yard.commands_with(f"sleep {mark}")

    def test_nothing_outlives_its_task(self, yard: Yard, on: str):
        idle = f"sleep 8222.{os.getpid()}"
        yard.result(on, yard.work("6.3.1", "sh", "-c", f"setsid {idle} & nohup {idle} &"))
        assert not yard.commands_with(idle)

    def test_waiting_work_can_be_cancelled(self, yard: Yard):
        on = yard.executor(1)
        yard.site.start([yard.work("7.1.1", "sleep", "600"), yard.work("7.2.1", "echo", "never")], on)
        yard.until_started("7.1.1")
        states = yard.states(on, "7.")
        assert states == {"7.1.1": "running", "7.2.1": "waiting"}
        yard.site.cancel(["7.2.1"])
        (never,) = yard.until("7.2.1")
        assert (never.cause, never.started) == ("cancelled", 0)
        yard.site.cancel(["7.1.1"])
        yard.until("7.1.1")
        assert yard.log("7.2.1") == b""

    def test_acknowledged_events_are_forgotten(self, yard: Yard):
        on = yard.executor(1)
        yard.result(on, yard.work("8.1.1", "echo", "one"))
        events = yard.site.events({}, timedelta(0))[on]
        assert [e for e in events if e.attempt == "8.1.1"] == [e for e in yard.seen if e.attempt == "8.1.1"]
        assert {r.state for r in yard.site.snapshot() if r.attempt == "8.1.1"} == {"finished"}
        yard.site.acknowledge({on: events[-1].seq})
        yard.result(on, yard.work("8.2.1", "true"))
        assert min(e.seq for e in yard.site.events({}, timedelta(0))[on]) == events[-1].seq + 1
        eventually(
            lambda: yard.site.renew(timedelta(minutes=5)) or "8.1.1" not in {r.attempt for r in yard.site.snapshot()}
        )

    def test_another_site_adopts_what_runs(self, yard: Yard):
        on = yard.executor(2)
        go = yard.home / "go"
        wait = f"echo a; while ! [ -e {go} ]; do sleep 0.02; done; echo b"
        yard.site.start([yard.work("9.1.1", "sh", "-c", wait), yard.work("9.2.1", "true")], on)
        yard.until("9.2.1")
        eventually(lambda: yard.look() is not None and yard.log("9.1.1") == b"a\n")
        yard.again()
        eventually(lambda: on in yard.ready())
        states = yard.states(on, "9.")
        assert states == {"9.1.1": "running", "9.2.1": "finished"}
        yard.touch(on, go)
        (end,) = yard.until("9.1.1")
        assert (end.exit, yard.log("9.1.1")) == (0, b"a\nb\n")
        yard.site.start([yard.work("9.2.1", "true")], on)
        yard.result(on, yard.work("9.3.1", "true"))
        assert [e.attempt for e in yard.finished()].count("9.2.1") == 1

    def test_inputs_are_placed_and_outputs_kept(self, yard: Yard, on: str):
        digest = yard.store.put_bytes(b"#!/bin/sh\nmkdir -p out/deep; cat data/x > out/deep/y; chmod 750 out/deep/y\n")
        data = yard.store.put_bytes(b"precious")
        inputs = (FileRef("bin/run", digest, 1, 0o755), FileRef("data/x", data, 8))
        end = yard.result(on, yard.work("10.1.1", "bin/run", inputs=inputs, outputs=("out/**",)))
        assert (end.exit, end.cause, end.message) == (0, "", "")
        assert [(o.path, o.size, o.mode) for o in end.outputs] == [("out/deep/y", 8, 0o750)]
        assert yard.store.read(end.outputs[0].digest) == b"precious"

    def test_an_input_that_is_missing(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("10.2.1", "true", inputs=(FileRef("x", "0" * 64, 1),)))
        assert (end.exit, end.cause) == (1, "inputs")
        assert "0" * 64 in end.message

    @pytest.mark.parametrize(("ordinal", "path"), [(1, "../x"), (2, "/etc/x"), (3, "a/../../x")])
    def test_an_input_that_leaves_its_folder(self, yard: Yard, on: str, ordinal: int, path: str):
        digest = yard.store.put_bytes(b"x")
        end = yard.result(on, yard.work(f"10.3.{ordinal}", "true", inputs=(FileRef(path, digest, 1),)))
        assert end.cause == "inputs"

    def test_an_output_that_is_missing(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("10.4.1", "touch", "a.txt", outputs=("*.txt", "*.png")))
        assert (end.exit, end.cause, end.outputs) == (1, "outputs", ())
        assert "*.png" in end.message

    def test_a_failed_task_is_not_asked_for_outputs(self, yard: Yard, on: str):
        end = yard.result(on, yard.work("10.5.1", "false", outputs=("*.png",)))
        assert (end.exit, end.cause) == (1, "")

    def test_outputs_follow_no_link_out(self, yard: Yard, on: str):
        make = "ln -s /etc/passwd leak; ln -s /etc folder; echo x > real; ln -s real inside"
        end = yard.result(on, yard.work("10.6.1", "sh", "-c", make, outputs=("*",)))
        assert sorted(o.path for o in end.outputs) == ["inside", "real"]
        assert (end.exit, end.message) == (0, "2 links lead out of its folder and were left out")

    def test_work_of_several_slots_has_them_to_itself(self, yard: Yard, on: str):
        works = [yard.work(f"11.{n}.1", "sleep", "0.1", slots=1 + n % 2) for n in range(1, 7)]
        yard.site.start(works, on)
        ends = yard.until(*(w.attempt for w in works))
        wide = [e for e, w in zip(ends, works, strict=True) if w.slots == 2]
        for one in wide:
            others = [e for e in ends if e is not one]
            assert all(e.at <= one.started or e.started >= one.at for e in others)

    def test_an_older_term_is_refused(self, yard: Yard):
        on = yard.executor(1)
        assert yard.result(on, yard.work("12.1.1", "true", term=5)).cause == ""
        late = yard.result(on, yard.work("12.2.1", "echo", "late", term=4))
        assert late.cause == "stale-term"
        assert yard.log("12.2.1") == b""

    def test_two_hundred_tiny_tasks(self, yard: Yard, on: str):
        works = [yard.work(f"13.{n}.1", "sh", "-c", f"echo {n}; exit {n % 3}") for n in range(1, 201)]
        yard.site.start(works, on)
        ends = yard.until(*(w.attempt for w in works))
        assert [e.exit for e in ends] == [n % 3 for n in range(1, 201)]
        assert all(yard.log(f"13.{n}.1") == b"%d\n" % n for n in range(1, 201))

    def test_a_straggler_holds_nobody_up(self, yard: Yard, on: str):
        yard.site.start([yard.work(f"14.{n}.1", "true") for n in range(1, 101)], on)
        yard.until(*(f"14.{n}.1" for n in range(1, 101)))
        works = [yard.work("14.200.1", "sleep", "600"), *(yard.work(f"14.{n}.1", "true") for n in range(201, 240))]
        yard.site.start(works, on)
        yard.until(*(f"14.{n}.1" for n in range(201, 240)))
        assert not any(e.attempt == "14.200.1" for e in yard.finished())
        yard.site.cancel(["14.200.1"])
        yard.until("14.200.1")

    def test_limits_end_an_attempt_and_are_named(self, yard: Yard, on: str):
        eat = "import time; x = b'x' * (200 << 20); time.sleep(60)"
        works = [
            yard.work("18.1.1", "sleep", "600", timeout_s=0.2),
            yard.work("18.2.1", "sleep", "600", silence_s=0.2),
            yard.work("18.3.1", "yes", output_bytes=1 << 20),
            yard.work("18.4.1", PYTHON, "-c", eat, memory_bytes=100 << 20),
            yard.work("18.5.1", "sh", "-c", "sleep 600 & sleep 600 & sleep 600 & sleep 600", processes=3),
            yard.work("18.6.1", "echo", "well"),
        ]
        yard.site.start(works, on)
        *ends, well = yard.until(*(w.attempt for w in works))
        assert [e.cause for e in ends] == ["timeout", "silence", "output", "memory", "processes"]
        assert all("its limit" in e.message for e in ends)
        assert (well.exit, well.cause, yard.log("18.6.1")) == (0, "", b"well\n")

    def test_stop_ends_the_executor(self, yard: Yard):
        on, long = yard.executor(1), f"8333.{os.getpid()}"
        yard.site.start([yard.work("15.1.1", "sleep", long)], on)
        yard.until_started("15.1.1")
        yard.site.stop(on, timedelta(seconds=1))
        assert on not in yard.ready()
        eventually(lambda: yard.ended(on))
        assert on not in yard.site.lost()
        assert not yard.commands_with(f"sleep {long}")
        assert not yard.commands_with(on)
        yard.site.stop(on, timedelta(seconds=1))
        yard.site.stop("nobody", timedelta(seconds=1))

    def test_a_killed_executor_is_lost_and_leaves_nothing(self, yard: Yard):
        on = yard.executor(2)
        yard.site.lost()
        idle = f"sleep 8444.{os.getpid()}"
        command = f"setsid {idle} & {idle}"
        yard.site.start([yard.work("16.1.1", "sh", "-c", command, memory_bytes=1 << 30, processes=50)], on)
        yard.until_started("16.1.1")
        cage = yard.cage(on)
        assert len(cage.inside()) == bool(cage)
        eventually(lambda: len(yard.commands_with(idle)) >= 2)
        os.kill(yard.process(on), signal.SIGKILL)
        eventually(lambda: yard.site.lost() == [on], within=yard.noticed_s)
        eventually(lambda: not yard.commands_with(idle) and not yard.commands_with(on), within=yard.noticed_s)
        with pytest.raises(Lost):
            yard.site.start([yard.work("16.2.1", "true")], on)
        assert on not in yard.ready()
        eventually(lambda: yard.ended(on))
        assert not any(os.path.exists(folder) for folder in cage.folders())

    def test_an_unknown_executor_is_lost(self, yard: Yard):
        with pytest.raises(Lost):
            yard.site.start([yard.work("17.1.1", "true")], "nobody")
