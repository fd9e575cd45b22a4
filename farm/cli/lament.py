"""Why tasks failed, in as few lines as help."""

from typing import Any

from farm.cli.logs import tame
from farm.cli.output import say
from farm.client import Client
from farm.refusal import Refusal

MOST = 5  # failed tasks that are told of one by one
WITH_LOG = 2  # of these, those whose last lines are shown
LINES = 5
BYTES = 16_384  # of the end of a log that are looked at
PARTS = 8  # of a log that are read to get there; the end of a longer one is not looked for


def failure(task: Any) -> str:
    """`17.3 frame12 failed: exit 7; see …`."""
    name = "" if task["name"] == "main" else f" {task['name']}"
    code = task["exit"]
    ended = "no cause is known" if code is None else f"exit {code}" if code >= 0 else f"signal {-code}"
    why = ": ".join(filter(None, (task["cause"], task.get("message")))) or ended
    return f"{task['ref']}{name} failed: {why}; see `farm logs {task['ref']}` and `farm why {task['ref']}`"


class Lament:
    """Tells of the failed tasks of one job."""

    def __init__(self, client: Client, tasks: int) -> None:
        self._client, self._tasks, self._failed = client, tasks, 0

    def of(self, task: Any) -> None:
        """One more task has ended."""
        if task["state"] != "failed":
            return
        self._failed += 1
        if self._failed <= MOST:
            say(failure(task))
        if self._failed <= WITH_LOG:
            for line in last_lines(self._client, task["ref"]):
                say(f"    {line}")

    def end(self) -> None:
        """How many were not told of."""
        if self._failed > MOST:
            say(f"and {self._failed - MOST} more tasks failed")


def last_lines(client: Client, ref: str) -> list[str]:
    """The end of a task's log; nothing where it can't be had."""
    found, offset = b"", 0
    try:
        for _ in range(PARTS):
            part = client.log(ref, offset)
            found, offset = (found + part.data)[-BYTES:], part.next
            if part.final or not part.data:
                break
        else:
            return []
    except Refusal:
        return []
    lines = tame(found).decode(errors="backslashreplace").replace("\r", "\n").splitlines()
    return [line for line in lines if line.strip()][-LINES:]
