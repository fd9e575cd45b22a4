"""The head of a site: a GCS and a node without slots. It outlives gateways, and is started again where it died."""

import json
import logging
import os
import random
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from executors.errors import Lost
from executors.site import ray_private
from executors.site.head import head_processes, stop_head
from executors.site.late import come_late
from executors.site.nursery import has_parent, parent_spawns
from executors.site.process import Process
from executors.site.ray_private import (
    HOST,
    SESSION,
    forget_token,
    gcs_client,
    introduce,
    nodes,
    ray_environment,
)
from executors.site.raylet import environment, fill, lay_out, ray_folder, read_json, spawn, write_private

log = logging.getLogger(__name__)

COMES_UP_S = 30.0
FREES_S = 3.0


@dataclass(frozen=True, slots=True)
class HeadInfo:
    """A head that answers. `node` is the id of its raylet, `processes` are keyed by role."""

    address: str
    cluster: str
    node: str
    processes: Mapping[str, Process]
    stock: bool = False


def prepare(run: str) -> None:
    """Make the folder and the token, and set the environment of this process. Must come before `import ray`."""
    folder = ray_folder(run)
    (folder / "db").mkdir(parents=True, exist_ok=True, mode=0o700)
    known = (folder / "token").exists() and os.environ.get("RAY_AUTH_TOKEN_PATH") == str(folder / "token")
    if not (folder / "token").exists():
        write_private(folder / "token", secrets.token_hex(32))
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    os.environ.update(ray_environment(run))
    come_late()
    if "ray" in sys.modules and not known:
        forget_token()


def ensure_head(run: str, farm: str, alone: bool = False) -> HeadInfo:
    """The living head of this run; what is dead of it is started again on the same database and port. That of one
    executor `alone` has no node of its own: it waits for the executor's.

    Writes `<run>/ray/raylet.json`, the recipe by which executors join. Raises Lost when no head comes up.
    """
    prepare(run)
    if stock := _living_stock(run):
        return stock
    if ray_private.is_known(version("ray")):
        for tried in range(3):
            try:
                return _fast_head(run, farm, alone)
            except Exception as error:  # whatever a private interface may raise
                log.warning("a head does not come up: %s; %s", error, "once more" if not tried else "anew, and empty")
            if tried:
                stop_head(run)
                prepare(run)
    if alone:  # what `ray start` leaves behind would outlive the executor
        raise Lost("Ray's head does not come up; see gateway.log")
    from executors.site.ray_stock import stock_head

    return stock_head(run)


def _living_stock(run: str) -> HeadInfo | None:
    """A head that `ray start` has made is kept while all of it lives, and made again otherwise."""
    saved, processes = _saved(run), head_processes(run)
    if not saved.get("stock"):
        return None
    if all(p.alive() for p in processes.values()):
        return HeadInfo(saved["address"], saved["cluster"], saved["node"], processes, stock=True)
    stop_head(run)
    prepare(run)
    return None


def _saved(run: str) -> dict[str, Any]:
    return read_json(ray_folder(run) / "head.json") or {}


def _save(run: str, saved: Mapping[str, Any]) -> None:
    write_private(ray_folder(run) / "head.json", json.dumps(saved))


def _fast_head(run: str, farm: str, alone: bool) -> HeadInfo:
    saved = _saved(run)
    processes = {role: p for role, p in head_processes(run).items() if p.alive()}
    if "gcs" not in processes:
        saved["port"], processes["gcs"] = _start_gcs(run, int(saved.get("port", 0)))
        _save(run, saved | {"processes": _written(processes)})
    client = gcs_client(f"{HOST}:{saved['port']}")
    cluster = str(client.cluster_id.hex())
    recipe = ray_private.recipe(run, saved["port"], cluster)
    if alone:
        return _with_the_executors_node(run, farm, client, saved["port"], recipe, processes)
    write_private(ray_folder(run) / "raylet.json", json.dumps(recipe))
    if "head-raylet" not in processes:
        introduce(client, farm)
        saved["node"], processes["head-raylet"] = _start_head_raylet(run, recipe)
        _save(run, saved | {"processes": _written(processes)})
    head = HeadInfo(f"{HOST}:{saved['port']}", cluster, saved["node"], processes)
    _until(lambda: any(n.id == head.node for n in nodes(client)), "the head's node")
    return head


def _with_the_executors_node(
    run: str, farm: str, client: Any, port: int, recipe: Mapping[str, Any], processes: Mapping[str, Process]
) -> HeadInfo:
    """The executor starts its node as soon as there is a recipe."""
    introduce(client, farm)
    write_private(ray_folder(run) / "raylet.json", json.dumps(recipe))
    _until(lambda: bool(nodes(client)), "the executor's node")
    return HeadInfo(f"{HOST}:{port}", str(client.cluster_id.hex()), nodes(client)[0].id, processes)


def _written(processes: Mapping[str, Process]) -> dict[str, list[int]]:
    return {role: [p.pid, p.started] for role, p in processes.items()}


def _until(there: Callable[[], bool], what: str, process: Process | None = None) -> None:
    """Ray announces neither its port files nor its nodes to outsiders, so look every 5 ms."""
    deadline = time.monotonic() + COMES_UP_S
    never = threading.Event()
    while not there():
        if time.monotonic() > deadline or (process and not process.alive()):
            raise Lost(f"{what} of Ray did not come up within {COMES_UP_S:g} s")
        never.wait(0.005)


def _start_gcs(run: str, port: int) -> tuple[int, Process]:
    """Start the GCS, on the port it had before when that is free: the executors that are still there look for it."""
    identity, session = secrets.token_hex(28), _session(run)
    (session / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
    argv = ray_private.gcs_argv(str(session), identity, port if port and _frees(port) else _fresh_port())
    start = parent_spawns if has_parent() else spawn
    process = Process.of(start(argv, environment(ray_environment(run)), session / "gcs.log").pid)
    file = Path(ray_private.gcs_port_file(str(session), identity))
    _until(lambda: bool(_port_in(file)), "the GCS", process)
    return _port_in(file), process


def _session(run: str) -> Path:
    return ray_folder(run) / "h" / SESSION


def _port_in(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _fresh_port() -> int:
    """Below the ports the kernel gives to outgoing connections: they could take it while the GCS is being restarted.

    A node that looks for its GCS there could even end up connected to itself.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = random.sample(range(10_000, max(lowest, 12_000)), 100)
    return next((port for port in candidates if _free(port)), 0)


def _frees(port: int) -> bool:
    """A port that a killed GCS has just held may stay taken for a moment (seen in 1 of 14 restarts)."""
    deadline = time.monotonic() + FREES_S
    pause = threading.Event()
    while not _free(port) and time.monotonic() < deadline:
        pause.wait(0.05)
    return _free(port)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _start_head_raylet(run: str, recipe: Mapping[str, Any]) -> tuple[str, Process]:
    """A node without slots: it is there for the driver alone, and starts no workers."""
    node = secrets.token_hex(28)
    values = {"@NODE@": node, "@TEMP@": str(_session(run).parent), "@SLOTS@": "0", "@LABELS@": "{}"}
    shutil.rmtree(_session(run) / "sockets", ignore_errors=True)
    lay_out(recipe, values)
    argv = [fill(word, values) for word in recipe["argv"]]
    argv = [word for word in argv if not word.startswith("--num_prestart_python_workers")]
    log = _session(run) / "raylet.log"
    child = spawn([*argv, "--num_prestart_python_workers=0", "--head"], environment(recipe["env"]), log)
    return node, Process.of(child.pid)
