"""Lines that tasks print, on their way to whoever reads them."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from farm.client import Client
from farm.refusal import Unavailable

ENDED = ("done", "failed", "cancelled")
BEATS = 20
BEAT_S = 0.1
LIMITS = {"readable_after_s": 0.3, "seen_after_max_s": 1.0}
LEAST = {"lines_per_second": 1_000_000}


def one_task(client: Client, lines: int) -> dict[str, Any]:
    """Seconds from the end of the task to the last byte of its log at a reader."""
    job, task = _ended(client, _submit(client, ["seq", str(lines)]))
    read = _read(client, f"{job}.1")
    after = time.time() - _at(task["finished"])
    if read.count(b"\n") != lines:
        raise Unavailable(f"{read.count(10):,} lines of {lines:,} came", remedy="try `farm doctor`")
    return {"lines": lines, "bytes": len(read), "readable_after_s": round(after, 3)}


def sustained(client: Client, tasks: int, lines: int) -> dict[str, Any]:
    """Lines a second of several tasks at once, from the first start until all can be read."""
    number = _submit(client, ["seq", str(lines)], array={"first": 1, "last": tasks})
    job = _wait(client, number)
    sizes = [_length(client, f"{number}.{n}") for n in range(1, tasks + 1)]
    took = time.time() - _at(job["started"])
    if len(set(sizes)) != 1:
        raise Unavailable("not all lines came", remedy="try `farm doctor`")
    return {"tasks": tasks, "lines_each": lines, "lines_per_second": round(tasks * lines / took)}


def followed(client: Client) -> dict[str, Any]:
    """How late a viewer that follows sees a line, which tells when it was written."""
    program = f"for n in $(seq {BEATS}); do date +%s.%N; sleep {BEAT_S}; done"
    number = _submit(client, ["sh", "-c", program])
    late = sorted(now - float(line) for now, line in _lines(client, f"{number}.1"))
    if len(late) != BEATS:
        raise Unavailable(f"{len(late)} of {BEATS} lines came", remedy="try `farm doctor`")
    return {"seen_after_p50_s": round(late[len(late) // 2], 3), "seen_after_max_s": round(late[-1], 3)}


def _submit(client: Client, argv: list[str], **more: Any) -> int:
    step = {"argv": argv, **more}
    said = client.post("/v1/jobs", {"name": "lines", "owner": "bench", "lane": "interactive", "steps": [step]})
    return int(said["id"])


def _ended(client: Client, number: int) -> tuple[int, Any]:
    _wait(client, number)
    return number, client.get(f"/v1/tasks/{number}.1")


def _wait(client: Client, number: int) -> Any:
    seen = 0
    while True:
        job = client.get(f"/v1/jobs/{number}/wait", timeout=20, seen=seen, tasks="false")
        if job["state"] in ENDED:
            break
        seen = job["seen"]
    if job["state"] != "done":
        raise Unavailable(f"the measured job {job['state']}: {job['why']}", remedy="try `farm doctor`")
    return job


def _parts(client: Client, ref: str, wait_s: float) -> Iterator[bytes]:
    offset, final = 0, False
    while not final:
        part = client.log(ref, offset, wait_s)
        offset, final = part.next, part.final
        yield part.data


def _read(client: Client, ref: str) -> bytes:
    return b"".join(_parts(client, ref, 10))


def _length(client: Client, ref: str) -> int:
    return sum(map(len, _parts(client, ref, 10)))


def _lines(client: Client, ref: str) -> Iterator[tuple[float, bytes]]:
    """With the moment at which each was there."""
    rest = b""
    for data in _parts(client, ref, 20):
        now = time.time()
        *whole, rest = (rest + data).split(b"\n")
        yield from ((now, line) for line in whole)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
