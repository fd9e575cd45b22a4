"""The gateway as a process: it may be killed, its head may be killed, and the work goes on."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from executors import local
from executors.contract import EventKind, Order, Surroundings, Work
from executors.site.head import head_processes, stop_head
from executors.site.process import Process, end_by_file
from tests.contract.yard import eventually
from tests.unit.sync_farm import TOKEN, Farm


class Place:
    """A run folder with a farm, a local provider and gateways."""

    def __init__(self, home, engine):
        self.home, self.engine, self.run = home, engine, home / "r"
        self.run.mkdir(mode=0o700)
        (home / "token").write_text(TOKEN)
        self.farm = Farm(home / "s").open()
        around = Surroundings(
            "f1", "local", str(home / "p"), str(self.run), str(home / "store"), engine, timedelta(minutes=5)
        )
        self.provider = local.provider({"ceiling": 8}, around)
        self.gateways = []

    def gateway(self):
        words = {"run": self.run, "farm": "f1", "site": "local", "socket": self.farm.path, "token": self.home / "token"}
        argv = [sys.executable, "-m", "executors.site.gateway", "--engine", self.engine]
        with open(self.home / "gateway.log", "ab") as log:
            self.gateways.append(
                subprocess.Popen(
                    [*argv, *(w for k, v in words.items() for w in (f"--{k}", str(v)))], stdout=log, stderr=log
                )
            )
        return self.gateways[-1]

    def executor(self, token):
        (machine,) = self.provider.launch(Order(token, "local", 1, 1)).machines
        self.farm.say("attach", executor=machine.id, slots=1)
        self.farm.until(lambda: self.is_ready(machine.id))
        return machine.id

    def is_ready(self, executor):
        return bool(self.farm.reports) and any(r.executor == executor for r in self.farm.reports[-1].ready)

    def start(self, executor, attempt, *argv):
        self.farm.say("start", executor=executor, works=(Work(attempt, 1, 1, argv),))

    def finished(self, attempt):
        return [e for e in self.farm.events if e.kind is EventKind.FINISHED and e.attempt == attempt]

    def close(self):
        for gateway in self.gateways:
            gateway.kill()
            gateway.wait()
        self.provider.terminate([m.id for m in self.provider.machines()])
        self.provider.close()
        stop_head(str(self.run))
        self.farm.close()


@pytest.fixture(params=["ray", "plain"])
def place(request):
    home = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
    place = Place(home, request.param)
    yield place
    place.close()
    shutil.rmtree(home)


def test_work_outlives_gateways(place):
    first = place.gateway()
    executor = place.executor("o1")
    go = place.home / "go"
    place.start(executor, "1.1.1", "sh", "-c", f"while ! [ -e {go} ]; do sleep 0.05; done; echo done")
    place.farm.until(lambda: any(e.attempt == "1.1.1" for e in place.farm.events))
    head = head_processes(str(place.run))
    first.kill()
    first.wait()

    place.farm.new_session()
    second = place.gateway()
    place.farm.until(lambda: any(r.attempt == "1.1.1" for r in place.farm.snapshots[-1]))
    assert head_processes(str(place.run)) == head
    go.touch()
    place.farm.until(lambda: place.finished("1.1.1"))
    assert place.finished("1.1.1")[0].exit == 0
    second.terminate()
    assert second.wait(20) == 0
    assert all(p.alive() for p in head.values())


def test_one_gateway_at_a_time(place):
    place.gateway()
    place.farm.until(lambda: place.farm.snapshots)
    assert place.gateway().wait(20) == 4
    end_by_file(place.run / "gateway.lock")
    assert place.gateways[0].wait(20) == 0


@pytest.mark.parametrize("place", ["ray"], indirect=True)
def test_a_head_that_dies_is_started_again_under_the_work(place):
    gateway = place.gateway()
    executor = place.executor("o1")
    before = head_processes(str(place.run))
    for process in before.values():
        process.signal(signal.SIGKILL)
    eventually(lambda: not set(head_processes(str(place.run)).items()) & set(before.items()))
    place.farm.new_session()
    place.farm.until(lambda: place.is_ready(executor))
    place.start(executor, "1.1.1", "true")
    place.farm.until(lambda: place.finished("1.1.1"))
    assert not any(r.lost for r in place.farm.reports)
    assert gateway.poll() is None


@pytest.mark.parametrize("place", ["ray"], indirect=True)
def test_processes_are_listed_and_halt_ends_the_head(place):
    gateway = place.gateway()
    executor = place.executor("o1")
    place.start(executor, "1.1.1", "sleep", "600")
    wanted = {"gateway", "gcs", "head-raylet", "executor", "raylet", "agent", "keeper", "task"}
    place.farm.until(lambda: wanted == {p["role"] for r in place.farm.reports for p in r.processes})
    listed = [p for r in place.farm.reports for p in r.processes if p["role"] == "task"][-1]
    assert (listed["executor"], listed["attempt"]) == (executor, "1.1.1")
    processes = [Process.of(pid) for pid in {p["pid"] for r in list(place.farm.reports) for p in r.processes}]
    assert os.getpid() not in [p.pid for p in processes]
    place.provider.terminate([executor])
    place.farm.say("halt")
    assert gateway.wait(20) == 0
    eventually(lambda: not any(p.alive() for p in processes))
