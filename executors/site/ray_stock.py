"""The slow but public way to a Ray head: `ray start`, for versions whose private interfaces nobody has looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from executors.errors import Lost
from executors.site.process import Process
from executors.site.ray_head import HeadInfo
from executors.site.ray_private import HOST, STORE_BYTES, gcs_client, nodes, ray_environment
from executors.site.raylet import environment, ray_folder, write_private

_ROLES = {"gcs_server": "gcs", "raylet": "head-raylet", "dashboard.py": "dashboard"}

START_S = 90.0
"""Stock heads take 3 to 14 s on an idle machine."""


def stock_head(run: str) -> HeadInfo:
    """Start a head by `ray start`. Raises Lost when that fails too."""
    temporary = ray_folder(run) / "h"
    (temporary / "ray_current_cluster").unlink(missing_ok=True)  # else refused while executors of the old head live
    words = ["--head", "--port=0", f"--temp-dir={temporary}", "--num-cpus=0", f"--object-store-memory={STORE_BYTES}"]
    done = subprocess.run(
        [*_ray(), "start", *words, "--include-dashboard=false", "--no-monitor", "--include-log-monitor=false"],
        env=environment(ray_environment(run)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        start_new_session=True,
    )
    if done.returncode:
        raise Lost(f"Ray's head does not start: {done.stdout[-500:]}{done.stderr[-500:]}")
    return _described(run, (temporary / "ray_current_cluster").read_text().strip())


def _described(run: str, address: str) -> HeadInfo:
    client = gcs_client(address)
    node = next(n for n in nodes(client) if not n.executor)
    found = _processes(str(ray_folder(run) / "h"))
    head = HeadInfo(address, str(client.cluster_id.hex()), node.id, found, stock=True)
    saved: dict[str, Any] = {"address": address, "cluster": head.cluster, "node": head.node, "stock": True}
    saved["processes"] = {role: [p.pid, p.started] for role, p in found.items()}
    write_private(ray_folder(run) / "head.json", json.dumps(saved))
    write_private(ray_folder(run) / "raylet.json", json.dumps(_recipe(run, address)))
    return head


def _recipe(run: str, address: str) -> dict[str, Any]:
    """`ray start --address` replaces loopback by the host's address, so nodes are made by `node` below."""
    return {
        "argv": [sys.executable, "-m", "executors.site.ray_stock", address, "@TEMP@", "@SLOTS@", "@LABELS@"],
        "env": ray_environment(run),
        "folders": ["@TEMP@"],
        "files": {},
    }


def node(address: str, temporary: str, slots: int, labels: dict[str, str]) -> int:
    """Be the parent of a raylet with Ray's own agents, which all end with this process. Its exit status."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    wanted = RayParams(
        gcs_address=address,
        node_ip_address=HOST,
        temp_dir=temporary,
        num_cpus=slots,
        labels=labels,
        object_store_memory=STORE_BYTES,
        include_log_monitor=False,
    )
    started = Node(wanted, head=False, shutdown_at_exit=True, spawn_reaper=True)
    return int(started.all_processes["raylet"][0].process.wait())


def _ray() -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts"]


def _processes(temporary: str) -> dict[str, Process]:
    """The long-lived processes of the head: found by name and by our folder in their command line."""
    found: dict[str, Process] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (role := _role(entry, temporary)):
            found[role] = Process.of(int(entry.name))
    return found


def _role(entry: Path, temporary: str) -> str:
    try:
        words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    names = {os.path.basename(word) for word in words[:2]}
    ours = any(word.startswith(("--log_dir=" + temporary, "--log-dir=" + temporary)) for word in words)
    return next((role for name, role in _ROLES.items() if name in names), "") if ours else ""


if __name__ == "__main__":
    sys.exit(node(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])))
