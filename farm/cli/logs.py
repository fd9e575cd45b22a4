"""`farm logs`: bytes as the tasks wrote them, with a safe form for terminals."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Any

import typer

from farm.cli.options import HomeOption, JsonOption, RefArgument
from farm.cli.output import emit_line, raw
from farm.cli.reach import reader
from farm.client import Client, LogPart
from farm.reference import parse_reference

POLL_S = 20.0
OVER = ("done", "failed", "cancelled", "skipped")
_ESCAPES = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?"
    rb"|[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]"  # the last are C1 controls as UTF-8
)


def logs(
    ref: RefArgument,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Stay and print what comes, until the end.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Pass terminal escape sequences on to a terminal.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Of a task its last attempt is shown, of an attempt (17.3.2) itself. The tasks of an array come one after the
    other, each under a line with its name; with -f each when it has ended. Into a file or pipe the bytes go exactly as
    they were written."""
    about = parse_reference(ref)
    show = _Show(writer(raw), json, follow)
    with reader(home) as client:
        if follow and client.running:
            from farm.cli.wait import patience

            client.bear(patience())
        if about.number is not None or client.get(f"/v1/jobs/{about.job}")["tasks"]["total"] == 1:
            show.log(client, str(about) if about.number else f"{about.job}.1")
        else:
            for task in _ended_tasks(client, about.job) if follow and client.running else _tasks(client, about.job):
                show.heading(task)
                show.log(client, task["ref"])
    return 0


def _tasks(client: Client, job: int) -> Iterator[dict[str, Any]]:
    """Those that have begun, in order."""
    offset = 0
    while found := client.get(f"/v1/jobs/{job}/tasks", limit=500, offset=offset)["tasks"]:
        yield from found
        offset += len(found)


def _ended_tasks(client: Client, job: int) -> Iterator[dict[str, Any]]:
    """Those of a job as they end, up to its own end."""
    from farm.cli.wait import changes

    for state in changes(client, job):
        yield from state["finished_tasks"]


def followed(client: Client, ref: str) -> Iterator[tuple[str, LogPart]]:
    """Attempt and part of its log: of a task its attempts from the last one on, until the task itself has ended."""
    from farm.cli.wait import ENDED, changes

    about = parse_reference(ref)
    if about.ordinal is not None:
        yield from ((ref, part) for part in stream(client, ref, POLL_S))
        return
    shown = -1
    for job in changes(client, about.job, tasks=False):
        task = client.get(f"/v1/tasks/{ref}")
        for attempt in task["attempts"][shown:]:
            yield from ((attempt["ref"], part) for part in stream(client, attempt["ref"], POLL_S))
        shown = len(task["attempts"])
        if task["state"] in OVER or job["state"] in ENDED:
            return


def stream(client: Client, ref: str, wait_s: float = 0) -> Iterator[LogPart]:
    """The parts of a log: up to what is there now, or with `wait_s` up to its end."""
    offset = 0
    while True:
        part = client.log(ref, offset, wait_s)
        yield part
        if part.final or (not wait_s and not part.data):
            return
        offset = part.next


def writer(unsafe: bool = False) -> Callable[[bytes], None]:
    """How log bytes reach stdout: as they are, but for a terminal without what it would obey."""
    if unsafe or not sys.stdout.isatty():
        return raw
    return lambda data: raw(tame(data))


def tame(data: bytes) -> bytes:
    """Without escape sequences and control characters; tab, line feed and carriage return stay."""
    return _ESCAPES.sub(b"", data)


@dataclass(frozen=True, slots=True)
class _Show:
    """How logs are shown: bytes by `write`, or JSON, a line per part when they are followed."""

    write: Callable[[bytes], None]
    json: bool
    follow: bool

    def heading(self, task: dict[str, Any]) -> None:
        if not self.json:
            self.write(f"==> {task['ref']} {task['name']} <==\n".encode())

    def log(self, client: Client, ref: str) -> None:
        if self.follow and client.running:
            parts = followed(client, ref)
        else:
            parts = ((ref, part) for part in stream(client, ref))
        if self.json:
            self._json(parts)
        else:
            self._text(parts)

    def _text(self, parts: Iterator[tuple[str, LogPart]]) -> None:
        for number, (ref, all_of_it) in enumerate(groupby(parts, key=lambda part: part[0])):
            note = ""
            if number:
                print(f"attempt {ref}", file=sys.stderr, flush=True)
            for _, part in all_of_it:
                self.write(part.data)
                note = part.note
            if note:
                print(f"farm: {note}", file=sys.stderr, flush=True)

    def _json(self, parts: Iterator[tuple[str, LogPart]]) -> None:
        """A line per part when they are followed, else one."""
        for ref, part in parts if self.follow else _joined(list(parts)):
            line = {"ref": ref, "text": part.data.decode(errors="backslashreplace"), "final": part.final}
            emit_line(line | ({"note": part.note} if part.note else {}))


def _joined(parts: list[tuple[str, LogPart]]) -> list[tuple[str, LogPart]]:
    ref, last = parts[-1]
    return [(ref, replace(last, data=b"".join(part.data for _, part in parts)))]
