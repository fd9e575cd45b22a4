"""What comes back of a function that was applied on the farm."""

import io
import pickle
from collections.abc import Iterator
from typing import Any

from farm.cli.reach import place_of
from farm.client import Client, connect
from farm.refusal import Refusal

ENDED = ("done", "failed", "cancelled")
LAST = 4000  # bytes of a log that an error carries


class FunctionFailed(Refusal):
    """A task ended otherwise than well; the text ends with what it said last."""


class Mapped:
    """Iterate over it for the results; `job` is the number of the job."""

    def __init__(self, client: Client, job: int, *, ordered: bool) -> None:
        self.job = job
        self._client, self._ordered = client, ordered

    def __iter__(self) -> Iterator[Any]:
        """Each iteration begins anew. Raises FunctionFailed as soon as a task has failed for good."""
        return self._in_order() if self._ordered else self._as_they_come()

    def _as_they_come(self) -> Iterator[Any]:
        for task in self._tasks():
            yield from self._results(task)

    def _in_order(self) -> Iterator[Any]:
        early: dict[int, Any] = {}
        turn = 1
        for task in self._tasks():
            early[int(task["ref"].partition(".")[2])] = task
            while turn in early:
                yield from self._results(early.pop(turn))
                turn += 1

    def _tasks(self) -> Iterator[Any]:
        """Each task once, when it has ended. Raises FunctionFailed at the end of a job of which some never ran."""
        seen = 0
        while True:
            found = self._client.get(f"/v1/jobs/{self.job}/wait", timeout=20, seen=seen)
            yield from found["finished_tasks"]
            seen = found["seen"]
            if found["state"] in ENDED and not found["finished_tasks"]:
                break
        if found["state"] != "done":
            what = f"job {self.job} {found['state']} before all of it ran"
            raise FunctionFailed(what, "farm.map", f"see `farm why {self.job}`")

    def _results(self, task: Any) -> list[Any]:
        if task["state"] != "done":
            raise self._failed(task)
        into = io.BytesIO()
        self._client.download(task["outputs"][0]["digest"], into)
        from farm.functions.by_value import pickler

        pickler()  # what is pickled by value names it
        found: list[Any] = pickle.loads(into.getvalue())
        return found

    def _failed(self, task: Any) -> FunctionFailed:
        said = b""
        if task["attempts"]:
            said, offset, final = b"", 0, False
            while not final:
                part = self._client.log(task["ref"], offset)
                final = part.final or not part.data
                said, offset = (said + part.data)[-LAST:], part.next
        what = f"task {task['ref']} {task['state']}{': ' * bool(task['cause'])}{task['cause']}"
        text = said.decode(errors="replace").strip()
        return FunctionFailed(f"{what}\n{text}" if text else what, "farm.map", f"see `farm why {task['ref']}`")


def results(job: int, *, ordered: bool = True, home: str | None = None) -> Mapped:
    """Those of a job that `farm.map` made, in this process or another. Raises Refusal when there is no such job."""
    client = connect(place_of(home))
    client.get(f"/v1/jobs/{job}")
    return Mapped(client, job, ordered=ordered)
