"""Celery with Redis: two worker processes, each task starts a program. Redis by apt, Celery by pip, in a folder."""

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.debian import surroundings, unpacked
from benchmarks.peers.ports import free_port, listening

APP = """
import os, sys, time
from celery import Celery
PORT = os.environ["PEER_PORT"]
app = Celery("app", broker=f"redis://127.0.0.1:{PORT}/0")
app.conf.update(worker_prefetch_multiplier=16, task_ignore_result=True, broker_connection_retry_on_startup=True)
@app.task(name="one")
def one():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    app.pool_counter.incr("done")
import redis
app.pool_counter = redis.Redis(port=int(PORT))
if __name__ == "__main__":
    def until(count):
        while int(app.pool_counter.get("done") or 0) < count:
            time.sleep(0.01)
    one.delay()
    until(1)
    tasks = int(sys.argv[1])
    begin = time.perf_counter()
    for _ in range(tasks):
        one.delay()
    until(tasks + 1)
    print("took", time.perf_counter() - begin)
"""


def run(folder: Path, tasks: int) -> float:
    """Submitting is in it: it goes on beside the work."""
    root = unpacked(folder, "redis-server")
    python = _python(folder)
    (folder / "app.py").write_text(APP)
    port = free_port()
    env = {**surroundings(root), "PEER_PORT": str(port)}
    redis = [
        root / "usr/bin/redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    running = [subprocess.Popen(redis, env=env, cwd=folder, stdout=subprocess.DEVNULL)]
    try:
        listening(port).close()
        worker = [python, "-m", "celery", "-A", "app", "worker", "-c", "2", "-l", "ERROR", "--without-gossip"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running.insert(0, subprocess.Popen(worker, env={**env, "LD_LIBRARY_PATH": ""}, cwd=folder, **quiet))
        call = [python, "app.py", str(tasks)]
        done = subprocess.run(
            call,
            env={**env, "LD_LIBRARY_PATH": ""},
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return tasks / float(done.stdout.split()[1])
    finally:
        for process in running:
            process.terminate()
            process.wait()


def _python(folder: Path) -> Path:
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, capture_output=True, text=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "celery",
            "redis",
            "packaging",
        ]
        subprocess.run(install, check=True, capture_output=True, text=True)
    return python
