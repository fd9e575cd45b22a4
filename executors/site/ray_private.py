"""All private interfaces of Ray that the farm uses: the only place to look at when the pinned version moves.

Private are: how the command lines of GCS and raylet are made (`ray._private.services`), the port files by which a
raylet learns of its two per-node agents, the embedded RocksDB, and draining by the GCS client. Each has a contract
test. `executors.site.ray_head` uses them; with another version it falls back to `executors.site.ray_stock`.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from executors.site.raylet import LABEL, ray_folder

PINNED = "2.60.0"
HOST = "127.0.0.1"
SESSION = "s"  # short: it is part of the paths of Unix sockets
STORE_BYTES = 80_000_000  # Ray's least is 75 MB; nothing of ours travels through it
_PREEMPTION = 2  # DrainNodeReason: always accepted


@dataclass(frozen=True, slots=True)
class Node:
    """One living Ray node as the GCS sees it; `executor` is "" for the head."""

    id: str
    executor: str
    slots: int


_SELDOM = (
    "RAY_raylet_check_gc_period_milliseconds",
    "RAY_kill_idle_workers_interval_ms",
    "RAY_local_fs_monitor_interval_ms",
    "RAY_io_context_monitor_probe_interval_ms",
    "RAY_report_worker_backlog_interval_ms",
    "RAY_ray_syncer_message_refresh_interval_ms",
    "RAY_metrics_report_interval_ms",
)
"""What Ray looks after many times a second and we do not use: object store, leases of workers, metrics."""


def is_known(version: str) -> bool:
    """Whether its private interfaces are those of the pinned version: patches of a release have not changed them."""
    return version.split(".")[:2] == PINNED.split(".")[:2]


def ray_environment(run: str) -> dict[str, str]:
    """What every Ray process and driver of a run must have in its environment before `import ray`.

    All explicit: with no mode set, a token file in the user's home would silently turn authentication on.
    """
    folder = ray_folder(run)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everything binds loopback, on Linux too
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call must not start a cluster of its own
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(folder / "db"),
        "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",  # a driver is ended without a word after it
        "RAY_health_check_initial_delay_ms": "500",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "4",
        "RAY_grpc_client_keepalive_time_ms": "5000",  # must be equal everywhere
        "RAY_grpc_client_keepalive_timeout_ms": "5000",
        "RAY_memory_monitor_refresh_ms": "0",  # it ends the agent for what a task uses
        "RAY_task_events_report_interval_ms": "0",
        "RAY_enable_metrics_collection": "0",
        "RAY_event_stats": "0",
        "RAY_BACKEND_LOG_LEVEL": "warning",  # the logs of the head are never rolled
        "RAY_debug_dump_period_milliseconds": "0",
        "RAY_enable_timeline": "0",
        "RAY_emit_main_service_metrics": "0",
        "RAY_worker_niceness": "0",  # one cannot become less nice again
        "RAY_worker_oom_score_adjustment": "0",
        "RAY_enable_worker_prestart": "1",  # a worker takes a second to come up: beside the joining, not after it
        "RAY_prestart_worker_first_driver": "0",
        **dict.fromkeys(_SELDOM, "60000"),  # idle, a raylet and a worker cost half a core's hundredth less
    }


def forget_token() -> None:
    """Ray reads token and settings once a process; a second run in the same process needs its own."""
    from ray._private.authentication_test_utils import reset_auth_token_state

    reset_auth_token_state()


# ── Command lines ────────────────────────────────────────────────────────────────────────────────


def _recorded(start: Callable[..., Any], *args: Any, **options: Any) -> list[str]:
    """The command line that one of Ray's own starters would run."""
    from ray._private import services

    seen: list[str] = []
    original = services.start_ray_process
    services.start_ray_process = lambda command, *_, **__: seen.extend(command)
    try:
        start(*args, **options)
    finally:
        services.start_ray_process = original
    return seen


def gcs_argv(session: str, identity: str, port: int) -> list[str]:
    """The GCS; it writes the port it listens at (one of its choice for 0) to `gcs_port_file`."""
    from ray._private import services

    return _recorded(
        services.start_gcs_server,
        redis_address="",
        log_dir=f"{session}/logs",
        stdout_filepath=None,
        stderr_filepath=None,
        session_name=SESSION,
        config={},
        fate_share=False,
        gcs_server_port=port,
        metrics_agent_port=0,
        node_ip_address=HOST,
        session_dir=session,
        node_id=identity,
    )


def gcs_port_file(session: str, identity: str) -> str:
    core = _core()
    return f"{session}/{core.get_port_filename(identity, core.GCS_SERVER_PORT_NAME)}"


def recipe(run: str, port: int, cluster: str) -> dict[str, Any]:
    """How to start a raylet that joins this head; @NODE@, @TEMP@, @SLOTS@ and @LABELS@ are filled in each time."""
    argv = [_for_any_node(word) for word in _raylet_argv(f"{HOST}:{port}", cluster)]
    return {
        "argv": [word for word in argv if word],
        "env": ray_environment(run),
        "folders": [f"@TEMP@/{SESSION}/{name}" for name in ("sockets", "logs/old", "runtime_resources")],
        "files": _port_files(),
    }


def _port_files() -> dict[str, str]:
    """A raylet waits for these until it joins. Its agents write them; ours are stubs, so they are there at once."""
    core = _core()
    numbers = {
        core.METRICS_AGENT_PORT_NAME: "-1",
        core.METRICS_EXPORT_PORT_NAME: "-1",
        core.DASHBOARD_AGENT_LISTEN_PORT_NAME: "-1",
        core.RUNTIME_ENV_AGENT_PORT_NAME: "1",
    }
    anyone = "0" * 56  # the name is made of a real id only
    files = {core.get_port_filename(anyone, name).replace(anyone, "@NODE@"): n for name, n in numbers.items()}
    return {f"@TEMP@/{SESSION}/{name}": number for name, number in files.items()}


def _raylet_argv(address: str, cluster: str) -> list[str]:
    from ray._private import services
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec
    from ray._private.resource_isolation_config import ResourceIsolationConfig

    workers = os.path.join(os.path.dirname(services.__file__), "workers")
    session = f"@TEMP@/{SESSION}"
    spec = ResourceAndLabelSpec(1, 0, 1_000_000_000, STORE_BYTES, {}, {})
    return _recorded(
        services.start_raylet,
        redis_address="",
        gcs_address=address,
        node_id="@NODE@",
        node_ip_address=HOST,
        node_manager_port=0,
        raylet_name=f"{session}/sockets/raylet",
        plasma_store_name=f"{session}/sockets/plasma_store",
        cluster_id=cluster,
        worker_path=os.path.join(workers, "default_worker.py"),
        setup_worker_path=str(Path(__file__).with_name("ray_worker.py")),
        temp_dir="@TEMP@",
        session_dir=session,
        resource_dir=f"{session}/runtime_resources",
        log_dir=f"{session}/logs",
        resource_and_label_spec=spec.resolve(is_head=False, node_ip_address=HOST),
        plasma_directory="/dev/shm" if _shared_memory() else "@TEMP@",
        fallback_directory=session,
        object_store_memory=STORE_BYTES,
        session_name=SESSION,
        is_head_node=False,
        resource_isolation_config=ResourceIsolationConfig(),
        metrics_agent_port=0,
        metrics_export_port=0,
        dashboard_agent_listen_port=0,
        runtime_env_agent_port=0,
        fate_share=False,
    )


def _shared_memory() -> bool:
    return os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 2 * STORE_BYTES


def _for_any_node(word: str) -> str:
    """Replace what depends on the node, and both agents by a process that does nothing until the raylet ends.

    Empty agent commands are fatal to a raylet. Price of the stubs: no per-node metrics, and no runtime_env.
    """
    replaced = {
        "--static_resource_list": f"CPU,@SLOTS@,memory,1000000000,object_store_memory,{STORE_BYTES}",
        "--labels": "@LABELS@",
        "--maximum_startup_concurrency": "1",
        "--num_prestart_python_workers": "1",
        "--dashboard_agent_command": _stub(),
        "--runtime_env_agent_command": _stub(),
    }
    name, _, value = word.partition("=")
    if name == "--python_worker_command" and (setpriv := shutil.which("setpriv")):
        return f"{name}={setpriv} --pdeathsig KILL {value}"  # one that still boots would outlive its raylet by 10 s
    return f"{name}={replaced[name]}" if name in replaced else word


def _stub() -> str:
    """Ray appends options of its own, which `sh -c` takes for positional parameters."""
    setpriv = shutil.which("setpriv")
    if setpriv:
        return f"{setpriv} --pdeathsig KILL sh -c 'exec sleep infinity'"
    return "sh -c 'exec tail -f /dev/null --pid=$PPID'"


# ── What the GCS is told and asked ───────────────────────────────────────────────────────────────


def _core() -> Any:
    """Ray's compiled half, which has no types."""
    return import_module("ray._raylet")


def gcs_client(address: str) -> Any:
    return _core().GcsClient(address=address)


def introduce(client: Any, farm: str) -> None:
    """What `ray start --head` tells a new GCS: the versions that drivers are compared with, and the session."""
    from ray._common.usage.usage_lib import put_cluster_metadata
    from ray._private.ray_constants import KV_NAMESPACE_SESSION

    put_cluster_metadata(client, ray_init_cluster=False)
    client.internal_kv_put(b"session_name", SESSION.encode(), True, KV_NAMESPACE_SESSION)
    client.internal_kv_put(b"farm", farm.encode(), True, b"farm")


def nodes(client: Any, timeout_s: float = 10) -> list[Node]:
    """The living nodes; one counts as dead 2 s after its last sign of life."""
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    found = client.get_all_node_info(timeout=timeout_s, state_filter=GcsNodeInfo.GcsNodeState.ALIVE).values()
    return [
        Node(
            info.node_id.hex(),
            dict(info.labels).get(LABEL, ""),
            int(dict(info.resources_total).get("CPU", 0)),
        )
        for info in found
    ]


def drain_node(client: Any, node: str, why: str, timeout_s: float = 10) -> bool:
    """Let a node go as soon as nothing runs there (no living actor either). False when it was not accepted.

    Ray does not enforce the deadline of a drain, so none is given.
    """
    accepted, _ = client.drain_node(node, _PREEMPTION, why, 0, timeout=timeout_s)
    return bool(accepted)
