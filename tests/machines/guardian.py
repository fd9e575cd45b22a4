"""Holds one running machine: guardian.py SPEC. Ends it when it ends itself or when standard input ends (the cord).

A process of its own outside the machine, so that nothing is left even when a test run is killed: it writes the
console, thaws what is frozen, kills what is left, and removes the control groups. Standard library only.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "--propagation", "private")


def kinds() -> list[Path]:
    """The hierarchies of control groups that matter here."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top]
    return [top / kind for kind in ("freezer", "memory", "pids") if (top / kind).is_dir()]


def make(folder: Path) -> None:
    """Another guardian may take the folder above away between our two steps."""
    while not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        try:
            folder.mkdir()
        except FileNotFoundError:
            continue


def make_groups(name: str, limits: dict[str, str]) -> list[Path]:
    """One folder in each hierarchy, with the limits that it knows."""
    folders = []
    for kind in kinds():
        folder = kind / "farm-bench" / name
        make(folder)
        if (kind / "cgroup.controllers").exists():
            for above in (kind, kind / "farm-bench"):
                (above / "cgroup.subtree_control").write_text("+memory +pids")
        folders.append(folder)
        for file, value in limits.items():
            if (folder / file).exists():
                (folder / file).write_text(value)
    return folders


def freeze(folders: list[Path], frozen: bool) -> None:
    for folder in folders:
        if (folder / "cgroup.freeze").exists():
            (folder / "cgroup.freeze").write_text("1" if frozen else "0")
        elif (folder / "freezer.state").exists():
            (folder / "freezer.state").write_text("FROZEN" if frozen else "THAWED")


def drop_groups(folders: list[Path]) -> None:
    """Innermost first; a process that was just killed leaves within moments."""
    until = time.monotonic() + 10
    for folder in folders:
        for below, _folders, _files in os.walk(folder, topdown=False):
            while os.path.isdir(below) and time.monotonic() < until:
                try:
                    os.rmdir(below)
                except OSError:
                    time.sleep(0.02)  # noqa: TID251  # the kernel tells nobody when a group becomes empty
        try:
            folder.parent.rmdir()
        except OSError:  # other machines are on
            continue


def start(spec: dict[str, Any], folders: list[Path]) -> "subprocess.Popen[bytes]":
    def join() -> None:
        for folder in folders:
            (folder / "cgroup.procs").write_text("0")

    argv = ["nsenter", f"--net={spec['net']}", "unshare", *NAMESPACES, "sh", spec["boot"]]
    cgroups = " ".join(kind.name for kind in kinds())
    env = {"PATH": os.environ["PATH"], "CGROUPS": cgroups, **spec["env"]}
    return subprocess.Popen(
        argv, env=env, preexec_fn=join, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def guard(machine: "subprocess.Popen[bytes]", console: int, folders: list[Path]) -> None:
    """Until it ends, or the cord is pulled. A line on the cord freezes or thaws."""
    assert machine.stdout is not None
    seen, ended = selectors.DefaultSelector(), os.pidfd_open(machine.pid)
    for fd in (0, machine.stdout.fileno(), ended):
        seen.register(fd, selectors.EVENT_READ)
    while True:
        ready = {key.fd for key, _events in seen.select()}
        if machine.stdout.fileno() in ready:
            if data := os.read(machine.stdout.fileno(), 1 << 16):
                os.write(console, data)
            else:
                seen.unregister(machine.stdout.fileno())
        elif ended in ready:
            return
        elif 0 in ready:
            words = os.read(0, 100)
            if not words:
                return
            freeze(folders, words.startswith(b"freeze"))
            os.write(1, b"done\n")


def end(machine: "subprocess.Popen[bytes]", folders: list[Path]) -> None:
    """The first process goes, the kernel takes the others along, and its parent buries it and follows."""
    children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
    if machine.poll() is None:
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    freeze(folders, False)
    try:
        machine.wait(20)
    except subprocess.TimeoutExpired:
        machine.kill()
        machine.wait()


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the cord ends it
    spec = json.loads(sys.argv[1])
    folders = make_groups(spec["group"], spec["limits"])
    console = os.open(spec["console"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    machine = start(spec, folders)
    os.write(1, b"%d\n" % machine.pid)
    try:
        guard(machine, console, folders)
    finally:
        end(machine, folders)
        drop_groups(folders)


if __name__ == "__main__":
    main()
