"""The processes of a guest, as its host lists them."""

import os
from typing import Any

from executors.site.agent import Agent

KEEPER = "executors.site.keeper"


def processes(agent: Agent) -> list[dict[str, Any]]:
    """Keepers and tasks: {role, inside, attempt, command}; `inside` is the pid in the guest. The agent is left out."""
    attempts = {p["pid"]: p["attempt"] for p in agent.processes()}
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        command = _command(pid)
        if command and pid not in (1, os.getpid()):
            role = "keeper" if KEEPER in command else "task"
            found.append({"role": role, "inside": pid, "attempt": attempts.get(pid, ""), "command": command})
    return found


def _command(pid: int) -> str:
    """Empty for what has ended, and for the kernel's own."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
