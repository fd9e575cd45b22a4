"""What is on every machine of a farm: make, xargs, Ray, and the farm itself."""

import json
import subprocess
import sys
import time
from pathlib import Path

RAY = """
import os, sys, time, ray
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
@ray.remote(num_cpus=1)
def one():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
ray.get([one.remote() for _ in range(20)])
begin = time.perf_counter()
ray.get([one.remote() for _ in range(int(sys.argv[1]))])
print("took", time.perf_counter() - begin)
"""


RAY_BATCHES = """
import os, sys, time, ray
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
@ray.remote(num_cpus=1)
class Slot:
    def run(self, commands):
        for _ in range(commands):
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
slots = [Slot.remote() for _ in range(2)]
ray.get([slot.run.remote(20) for slot in slots])
tasks = int(sys.argv[1])
begin = time.perf_counter()
ray.get([slots[n // 20 % 2].run.remote(min(20, tasks - n)) for n in range(0, tasks, 20)])
print("took", time.perf_counter() - begin)
"""


def farm(folder: Path, tasks: int) -> float:
    call = [sys.executable, "-m", "farm", "bench", "dispatch", "--json", "--runs", "1", "--singles", "0"]
    done = subprocess.run([*call, "--tasks", str(tasks)], cwd=folder, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["per_second"])


def make(folder: Path, tasks: int) -> float:
    names = " ".join(f"t{n}" for n in range(tasks))
    (folder / "Makefile").write_text(f".PHONY: all {names}\nall: {names}\n{names}:\n\t@/bin/true\n")
    return _rate(["make", "-s", "-j2", "all"], folder, tasks)


def xargs(folder: Path, tasks: int) -> float:
    lines = "\n".join(map(str, range(tasks)))
    return _rate(["xargs", "-P2", "-n1", "/bin/true"], folder, tasks, lines)


def ray(folder: Path, tasks: int) -> float:
    return _ray(RAY, folder, tasks)


def ray_batches(folder: Path, tasks: int) -> float:
    return _ray(RAY_BATCHES, folder, tasks)


def _ray(program: str, folder: Path, tasks: int) -> float:
    call = [sys.executable, "-c", program, str(tasks)]
    done = subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True)
    said = next(line for line in done.stdout.splitlines() if line.startswith("took "))
    return tasks / float(said.split()[1])


def _rate(call: list[str], folder: Path, tasks: int, given: str = "") -> float:
    begin = time.perf_counter()
    subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True, input=given)
    return tasks / (time.perf_counter() - begin)
