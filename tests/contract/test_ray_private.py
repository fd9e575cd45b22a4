"""What the farm needs of Ray beyond its public interfaces, tried on the pinned version."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from executors.errors import Lost
from executors.site import ray_head, ray_private
from executors.site.head import head_processes, stop_head
from executors.site.process import Process
from executors.site.raylet import node_folder, ray_folder, read_json, start_raylet

SOON_S = 90  # a stock head takes its time where others work, too


@pytest.fixture
def run():
    path = tempfile.mkdtemp(prefix="farm-t", dir="/tmp")
    yield path
    stop_head(path)
    shutil.rmtree(path)


@pytest.fixture
def join(run, tmp_path):
    children = []

    def start(executor="e1", slots=2):
        folder = tmp_path / executor
        folder.mkdir()
        children.append(start_raylet(run, executor, slots, str(folder), store=str(tmp_path / "store")))
        return children[-1]

    yield start
    for child in children:
        child.terminate()
        child.wait(SOON_S)


def until(condition, what):
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.01)


def node_of(head, executor):
    client = ray_private.gcs_client(head.address)
    found = [n for n in ray_private.nodes(client) if n.executor == executor]
    return found[0] if found else None


def until_joined(head, executor="e1"):
    until(lambda: node_of(head, executor), f"{executor} did not join")
    return node_of(head, executor)


def children_of(pid):
    """Of all its threads: the raylet starts its workers from several."""
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def name_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def listening(pid):
    """Local addresses, as /proc writes them, on which a process takes TCP connections."""
    links = [os.readlink(p) for p in Path(f"/proc/{pid}/fd").iterdir() if p.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture
def head(run):
    return ray_head.ensure_head(run, "f1")


@pytest.fixture
def driver(head):
    import ray

    ray.init(address=head.address, namespace="farm", log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def test_the_pinned_version_is_the_installed_one():
    assert version("ray") == ray_private.PINNED


def test_everything_listens_on_loopback_only(head, join, driver):
    raylet = join()
    until_joined(head)
    until(lambda: len(settled(raylet.pid)) >= 3, "no worker came up")
    worker = max(children_of(raylet.pid))
    until(lambda: listening(worker), "the worker does not listen")
    processes = {"gcs": head.processes["gcs"].pid, "head-raylet": head.processes["head-raylet"].pid}
    processes |= {"raylet": raylet.pid, "worker": worker, "driver": os.getpid()}
    for role, pid in processes.items():
        assert listening(pid), f"{role} does not listen at all"
        assert listening(pid) <= LOOPBACK, role


def test_no_helpers_run_beside_a_raylet_but_two_stubs_and_one_worker(head, join):
    raylet = join()
    until_joined(head)
    until(lambda: len(settled(raylet.pid)) >= 3, "no worker was started ahead")
    assert [name for name in settled(raylet.pid) if name != "sleep"] in (["python"], ["ray::IDLE"])
    assert settled(raylet.pid).count("sleep") == 2
    assert settled(head.processes["head-raylet"].pid) == ["sleep", "sleep"]


def settled(pid):
    """Names of its children; none while one of them still is on its way to become what it will be."""
    names = sorted(name_of(p) for p in children_of(pid))
    return [] if {"setpriv", "sh", "raylet"} & set(names) else names


def test_secrets_are_readable_by_the_owner_only(run, head):
    for name in ("token", "raylet.json", "head.json"):
        assert (ray_folder(run) / name).stat().st_mode & 0o777 == 0o600


def test_a_node_with_another_token_is_not_let_in(run, head, tmp_path):
    (tmp_path / "token").write_text("0" * 64)
    recipe = read_json(ray_folder(run) / "raylet.json")
    recipe["env"]["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    (ray_folder(run) / "raylet.json").write_text(json.dumps(recipe))
    raylet = start_raylet(run, "stranger", 1, str(tmp_path))
    assert raylet.wait(SOON_S) != 0
    assert node_of(head, "stranger") is None


def test_joining_needs_no_import_of_ray():
    code = "import sys, executors.site.raylet, executors.site.head; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_joining_without_a_head_says_so(run):
    with pytest.raises(Lost, match=r"no Ray head wrote .*raylet\.json within 0\.1 s"):
        start_raylet(run, "e1", 1, run, timeout_s=0.1)


def test_a_node_carries_its_executor_and_slots(head, join):
    join("e7", 3)
    assert until_joined(head, "e7").slots == 3


def test_a_raylet_dies_with_the_process_that_started_it_and_all_of_its_children_with_it(run, head, tmp_path):
    code = "import sys\nfrom executors.site.raylet import start_raylet\n"
    code += "print(start_raylet(sys.argv[1], 'e1', 1, sys.argv[2]).pid, flush=True)\nsys.stdin.read()"
    starter = subprocess.Popen(
        [sys.executable, "-c", code, run, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with starter:
        raylet = Process.of(int(starter.stdout.readline()))
        until_joined(head)
        children = [Process.of(p) for p in children_of(raylet.pid)]
        starter.kill()
    assert raylet.wait(SOON_S)
    assert len(children) >= 2
    assert all(child.wait(SOON_S) for child in children)


def test_a_drained_node_goes_at_once_when_nothing_runs_there(head, join):
    raylet = join()
    node = until_joined(head)
    assert ray_private.drain_node(ray_private.gcs_client(head.address), node.id, "test")
    assert raylet.wait(SOON_S) is not None
    until(lambda: node_of(head, "e1") is None, "the node is still listed")


def test_a_living_head_is_adopted(run, head):
    assert ray_head.ensure_head(run, "f1") == head


@pytest.mark.parametrize("victims", [("gcs",), ("head-raylet",), ("gcs", "head-raylet")])
def test_executors_survive_the_death_of_the_head(run, head, join, victims):
    import ray

    raylet = join()
    node = until_joined(head)
    before = named_actor(ray, head, node).pid()
    for role in victims:
        head.processes[role].signal(signal.SIGKILL)
        assert head.processes[role].wait(SOON_S)
    again = ray_head.ensure_head(run, "f1")
    assert (again.address, again.cluster) == (head.address, head.cluster)
    for role in ("gcs", "head-raylet"):
        assert (again.processes[role] == head.processes[role]) == (role not in victims)
    ray.init(address=again.address, namespace="farm", log_to_driver=False, logging_level="ERROR")
    try:
        assert ray.get(ray.get_actor("kept").pid.remote(), timeout=SOON_S) == before
    finally:
        ray.shutdown()
    assert raylet.poll() is None
    assert node_of(again, "e1") == node


class Kept:
    """A detached actor of a driver that has gone."""

    def __init__(self, ray, head, node):
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        class Actor:
            def pid(self):
                return os.getpid()

        ray.init(address=head.address, namespace="farm", log_to_driver=False, logging_level="ERROR")
        options = {"name": "kept", "lifetime": "detached", "num_cpus": 0, "max_restarts": 0}
        where = NodeAffinitySchedulingStrategy(node.id, soft=False)
        self._pid = ray.get(ray.remote(Actor).options(scheduling_strategy=where, **options).remote().pid.remote())
        ray.shutdown()

    def pid(self):
        return self._pid


def named_actor(ray, head, node):
    return Kept(ray, head, node)


def test_a_head_that_cannot_come_up_again_is_replaced_by_a_fresh_one(run, head):
    for process in head.processes.values():
        process.signal(signal.SIGKILL)
        assert process.wait(SOON_S)
    for file in (ray_folder(run) / "db").rglob("CURRENT"):
        file.write_text("nonsense\n")
    assert ray_head.ensure_head(run, "f1").cluster != head.cluster


def test_the_port_of_the_head_is_none_that_outgoing_connections_get(head):
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert int(head.address.rpartition(":")[2]) < lowest


def test_stopping_leaves_nothing(run, head):
    stop_head(run)
    assert not any(p.alive() for p in head.processes.values())
    assert not ray_folder(run).exists()
    stop_head(run)


def test_the_environment_of_ray_is_ours_alone(run, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "203.0.113.1:6379")
    ray_head.prepare(run)
    assert {k: v for k, v in os.environ.items() if k.startswith("RAY_")} == ray_private.ray_environment(run)


def test_paths_of_sockets_stay_short():
    longest = node_folder("/tmp/" + "x" * 35 + "/farm-0-0123456789", "e" * 200)
    assert len(f"{longest}/{ray_private.SESSION}/sockets/plasma_store") <= 107


def test_another_version_of_ray_is_started_the_public_way(run, join, monkeypatch):
    monkeypatch.setattr(ray_private, "PINNED", "0.0.0")
    head = ray_head.ensure_head(run, "f1")
    assert head.stock
    assert set(head_processes(run)) == {"gcs", "head-raylet", "dashboard"}
    assert ray_head.ensure_head(run, "f1") == head
    join()
    until_joined(head)


@pytest.mark.parametrize(
    ("version", "known"), [("2.60.0", True), ("2.60.7", True), ("2.61.0", False), ("3.60.0", False)]
)
def test_patches_of_the_pinned_release_are_known(version: str, known: bool):
    assert ray_private.is_known(version) is known
