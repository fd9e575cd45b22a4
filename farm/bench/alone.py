"""The service of a farm without its gateway, as a program: whoever starts it speaks for the executors.

    python -m farm.bench.alone --home HOME TIMES

Each decision who gets which slots is a line of the file TIMES: seconds, seconds of CPU, tasks that were handed out.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from farm import service
from farm.dispatch import Dispatcher

Assign = Callable[..., Mapping[str, Any]]


class Nobody:
    """Stands where the keeper of the gateway does."""

    def __init__(self, *_about: object) -> None: ...

    def start(self) -> None: ...

    def stop(self, end: bool) -> None: ...


def timed(assign: Assign, out: TextIO) -> Assign:
    """Decisions that gave nobody anything are not counted."""

    def made(*about: Any) -> Mapping[str, Any]:
        wall, cpu = time.perf_counter(), time.thread_time()
        works = assign(*about)
        if works:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            out.write(f"{wall:.6f} {cpu:.6f} {sum(map(len, works.values()))}\n")
        return works

    return made


def main(arguments: list[str]) -> int:
    vars(service)["Supervisor"] = Nobody
    with open(arguments[-1], "w", buffering=1) as out:
        Dispatcher.assign = timed(Dispatcher.assign, out)  # type: ignore[method-assign]
        return service.main(arguments[:-1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
