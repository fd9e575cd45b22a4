"""gearmand with its queue in memory, and two of its own workers that start a program for each job."""

import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from benchmarks.peers.debian import surroundings, unpacked
from benchmarks.peers.ports import free_port, listening

SUBMIT_BACKGROUND = 18


def run(folder: Path, tasks: int) -> float:
    root = unpacked(folder, "gearman-job-server", "gearman-tools")
    env, port = surroundings(root), free_port()
    binary = next(path for path in (root / "usr/sbin/gearmand", root / "usr/bin/gearmand") if path.exists())
    server = subprocess.Popen(
        [binary, "-L", "127.0.0.1", "-p", str(port), "-q", "builtin", "-l", "stderr"],
        env=env,
        stderr=subprocess.DEVNULL,
    )
    running = [server]
    try:
        with listening(port) as link:
            _submit(link, tasks)
            begin, pause = time.perf_counter(), threading.Event()
            call = [root / "usr/bin/gearman", "-h", "127.0.0.1", "-p", str(port), "-w", "-f", "true", "--", "/bin/true"]
            running += [subprocess.Popen(call, env=env, stdout=subprocess.DEVNULL) for _ in range(2)]
            while _left(link):
                pause.wait(0.01)
            return tasks / (time.perf_counter() - begin)
    finally:
        for process in running:
            process.terminate()
            process.wait()


def _submit(link: socket.socket, tasks: int) -> None:
    packets = []
    for n in range(tasks):
        body = b"true\0%d\0" % n
        packets.append(b"\0REQ" + struct.pack(">II", SUBMIT_BACKGROUND, len(body)) + body)
    link.sendall(b"".join(packets))
    answered = 0
    while answered < tasks:
        head = _exactly(link, 12)
        _exactly(link, struct.unpack(">I", head[8:])[0])
        answered += 1


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise ConnectionError("gearmand went away")
        data += more
    return data


def _left(link: socket.socket) -> int:
    """Jobs that have not ended, as its own status says."""
    link.sendall(b"status\n")
    said = b""
    while not said.endswith(b".\n"):
        said += link.recv(65536)
    return sum(int(line.split(b"\t")[1]) for line in said.splitlines() if line.startswith(b"true\t"))
