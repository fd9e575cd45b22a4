"""The head of a site as written down in its run folder: what it is made of, and how to end it. No Ray needed."""

import shutil

from executors.site.process import Process
from executors.site.raylet import ray_folder, read_json


def head_processes(run: str) -> dict[str, Process]:
    """Role → process of the head as last written down, living or not: `gcs`, `head-raylet`, perhaps `dashboard`."""
    head = read_json(ray_folder(run) / "head.json") or {}
    return {role: Process(*found) for role, found in head.get("processes", {}).items()}


def stop_head(run: str, timeout_s: float = 2) -> None:
    """End the head of this run and forget it; executors that are still joined to it are lost. Repeating it is fine.

    Its database goes with it, so a process that has not ended after half of `timeout_s` is killed. By process id
    only: `ray stop` would end every Ray of the host.
    """
    processes = head_processes(run)
    (ray_folder(run) / "raylet.json").unlink(missing_ok=True)
    for role in sorted(processes, key="gcs".__eq__):  # the GCS last
        processes[role].end(timeout_s / 2)
    shutil.rmtree(ray_folder(run), ignore_errors=True)
