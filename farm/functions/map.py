"""A function, and what it is applied to, as a job: each task takes a batch of the items."""

import hashlib
import io
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from farm.cli.booking import me
from farm.cli.needs import needs as needed
from farm.cli.reach import place_of
from farm.client import Client, connect
from farm.functions import by_value, run
from farm.functions.mapped import Mapped
from farm.packs import SMALL, packed
from farm.refusal import Refusal

BATCHES = 64  # where it is not said how many items a task takes
RESULTS = "results.pkl"


def map(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    lane: str = "default",
    needs: str | None = None,
    batch: int | None = None,
    ordered: bool = True,
    name: str | None = None,
    retries: int = 0,
    timeout_s: float = 0,
    python: str = sys.executable,
    home: str | None = None,
) -> Mapped:
    """Apply `function` to each item on the farm; iterate over what comes back for the results.

    Both are pickled by value: nothing of yours is installed on the executors, which need a Python of the same minor
    version (`python`). `batch` items are one task (else all make about 64 tasks), `needs` is as in `farm submit`. With
    `ordered` results come in the order of the items, else as tasks end. The job is as durable as any other: its number
    is `.job`, and `farm.results(job)` finds it again in another process. Raises Refusal.
    """
    listed = list(items)
    if not listed:
        raise Refusal("there are no items", "farm.map", "give it at least one")
    size = batch or -(-len(listed) // BATCHES)
    if size < 1:
        raise Refusal(f"a batch of {size} items makes no sense", "batch", "give it 1 or more")
    with by_value.beside():
        parts = [by_value.bytes_of(part, "an item") for part in _batches(listed, size)]
        shared = _common(function)
    client = connect(place_of(home))
    common = _sent(client, shared)
    sent = _sent(client, [("items.pkl", part) for part in parts])
    step = {
        "outputs": [RESULTS],
        "inputs": common,
        "retries": retries,
        "timeout_s": float(timeout_s),
        "items": [_item(n, python, file) for n, file in enumerate(sent, 1)],
        **needed(needs or "cpu=1"),
    }
    title = name or getattr(function, "__name__", "map").strip("<>")
    job = {"name": title, "owner": me(), "lane": lane, "steps": [step]}
    return Mapped(client, int(client.submit("/v1/jobs", job)["id"]), ordered=ordered)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _item(n: int, python: str, file: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"batch-{n}", "argv": [python, "run.py"], "inputs": [file]}


def _common(function: Callable[[Any], Any]) -> list[tuple[str, bytes]]:
    return [
        ("run.py", Path(run.__file__).read_bytes()),
        (f"{by_value.NAME}.py", by_value.source().read_bytes()),
        ("function.pkl", by_value.dumped(function)),
    ]


def _sent(client: Client, files: Sequence[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Into the store, what it lacks; the Files of a step."""
    contents = {hashlib.sha256(data).hexdigest(): data for _, data in files}
    wanted = client.missing(list(contents))
    small = [(digest, contents[digest]) for digest in wanted if len(contents[digest]) <= SMALL]
    for pack in packed(iter(small)):
        client.upload_pack(pack)
    for digest in itertools.filterfalse(dict(small).__contains__, wanted):
        client.upload(digest, io.BytesIO(contents[digest]), len(contents[digest]))
    return [
        {"path": name, "digest": hashlib.sha256(data).hexdigest(), "size": len(data), "mode": 0o644}
        for name, data in files
    ]
