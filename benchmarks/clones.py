"""How long clones of a virtual machine take to be there: `python -m benchmarks.clones --count 1 8 --repeat 5`.

From the start of QEMU until each has taken on its own identity and answered, as many on their way at once as there are
cores; then what they cost in processor time and memory. Needs QEMU; the template is made when it is not there.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from executors.site.proc import fair_memory
from executors.vmclone.clone import Clone, start
from executors.vmclone.qemu import shape
from executors.vmclone.recipe import Recipe, Spec
from executors.vmclone.template import Template, build

ANSWER_S = 120.0


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, nargs="+", default=[1, 8], help="clones at once")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--results", type=Path, help="a file for the numbers, as JSON")
    options = parser.parse_args(words)
    template = build(Spec(Recipe(options.release), shape(1, options.mib, "tcg")), print)
    found = {str(count): measured(template, count, options.repeat) for count in options.count}
    told = {"machine": about(), "qemu": template.shape.version, "mib": options.mib, "clones": found}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    if options.results:
        options.results.write_text(json.dumps(told, indent=2) + "\n")


def about() -> dict[str, Any]:
    return {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "kernel": platform.release()}


def measured(template: Template, count: int, repeat: int) -> dict[str, Any]:
    rounds = [once(template, count) for _ in range(repeat)]
    return {
        "first_s": round(statistics.median(r["first_s"] for r in rounds), 3),
        "all_s": round(statistics.median(r["all_s"] for r in rounds), 3),
        "worst_s": round(max(r["all_s"] for r in rounds), 3),
        "cpu_s_each": round(statistics.median(r["cpu_s"] for r in rounds) / count, 3),
        "mib_each": round(statistics.median(r["mib"] for r in rounds) / count, 1),
    }


def once(template: Template, count: int) -> dict[str, float]:
    """From nothing to `count` clones that have answered, and to nothing again."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as held:
        began = time.monotonic()
        clones, answers = launched(template, count, Path(place))
        for clone in clones:
            held.callback(clone.machine.end)
        pids = [clone.machine.process.pid for clone in clones]
        return {
            "first_s": min(answers) - began,
            "all_s": max(answers) - began,
            "cpu_s": sum(map(cpu_s, pids)),
            "mib": sum(map(fair_memory, pids)) / (1 << 20),
        }


def launched(template: Template, count: int, place: Path) -> tuple[list[Clone], list[float]]:
    """They die with the thread that starts them, so this one starts all; others wait for their answers."""
    window = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
    answers: list[float] = []
    clones, waits = [], []
    for number in range(count):
        window.acquire()
        folder = place / str(number)
        folder.mkdir()
        clones.append(start(template, f"clone-{number}", folder))
        waits.append(threading.Thread(target=answered, args=(clones[-1], window, answers)))
        waits[-1].start()
    for wait in waits:
        wait.join()
    if len(answers) < count:
        raise SystemExit(f"{count - len(answers)} of {count} clones did not answer")
    return clones, answers


def answered(clone: Clone, window: threading.BoundedSemaphore, answers: list[float]) -> None:
    try:
        clone.meet(ANSWER_S)
        answers.append(time.monotonic())
    finally:
        window.release()


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
