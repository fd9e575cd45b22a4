"""`farm wait`, and the `--wait` of everything that submits."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from farm.cli.lament import Lament, failure
from farm.cli.logs import POLL_S, stream, writer
from farm.cli.moments import progress, span
from farm.cli.options import HomeOption, JobArgument, JsonOption
from farm.cli.output import NOTHING_QUEUED, TOLD, emit_line, say
from farm.cli.reach import Place, reader
from farm.cli.values import positive
from farm.client import Client, Unreachable, connect
from farm.home import Home
from farm.patience import Patience, following_s
from farm.refusal import Unavailable

OnTask = Callable[[Client, Any], None]
ENDED = ("done", "failed", "cancelled")


def wait(job: JobArgument, home: HomeOption = None, json: JsonOption = False) -> int:
    """Ctrl-C ends the waiting, not the job. With --json one line per change."""
    number = positive(job, "JOB")
    with reader(home) as client:
        if not client.running:
            return _offline(client, number, json)
        client.bear(patience())
        try:
            return follow(client, number, json=json, log=False)
        except KeyboardInterrupt:
            say(_DETACHED.format(number))
            raise


def _offline(client: Client, number: int, json: bool) -> int:
    job = client.get(f"/v1/jobs/{number}")
    if job["state"] not in ENDED:
        raise Unavailable(f"job {number} is {job['state']} and no farm is running", remedy="start it with `farm up`")
    return _ended(job, json)


def patience() -> Patience:
    """Of one who follows: the service may start anew, the network may be cut."""
    return Patience(following_s(), say)


def submit_and_wait(
    place: Place, send: Callable[[Client], int | None], *, json: bool, finished: OnTask | None = None
) -> int:
    """Submit and wait: with the running farm, else with one that lives as long as somebody waits."""
    job, left = None, _NOTHING
    try:
        with _farm(place) as (client, embedded):
            left = _PERHAPS
            job = send(client)
            if job is None:
                return 0
            left = (_REQUEUED if embedded else _DETACHED).format(job)
            if json:
                emit_line({"id": job})
            else:
                say(f"job {job}")
            with _told(left):
                return follow(client, job, json=json, finished=finished)
    except KeyboardInterrupt as stop:
        if job is None:
            say(left)
        raise KeyboardInterrupt(TOLD) from stop


@contextmanager
def _told(left: str) -> Iterator[None]:
    """Ctrl-C is answered at once, before anything is stopped."""
    try:
        yield
    except KeyboardInterrupt:
        say(left)
        raise


@contextmanager
def _farm(place: Place) -> Iterator[tuple[Client, bool]]:
    """A client, and whether its farm lives in this process. A farm elsewhere is not started from here."""
    borne = patience()
    try:
        client = connect(place)
    except Unreachable:
        if not isinstance(place, Home):
            raise
        from farm.embedded import hosted

        with hosted(place) as found:
            yield found
    else:
        client.bear(borne)
        with client:
            yield client, False


_NOTHING = f"\n{NOTHING_QUEUED}"
_PERHAPS = "\nstopped while the job was sent: see `farm jobs` whether it is queued"
_DETACHED = "\njob {0} goes on: see `farm wait {0}` and `farm logs {0} -f`, end it with `farm cancel {0}`"
_REQUEUED = "\nstopping; job {0} stays in the queue: go on with `farm up` and `farm wait {0}`"


def follow(client: Client, job: int, *, json: bool, log: bool = True, finished: OnTask | None = None) -> int:
    """Show a job until it ends, a single task by its `log`; 0 when it succeeded, else 1.

    `finished` is called with each task that ended.
    """

    def fetched() -> Iterator[Any]:
        for state in changes(client, job):
            for task in state["finished_tasks"] if finished else ():
                assert finished is not None
                finished(client, task)
            yield state

    states = fetched()
    first = next(states)
    show = _show_json if json else _show_one if log and first["tasks"]["total"] == 1 else _show_many
    return show(client, chain([first], states))


def changes(client: Client, job: int, tasks: bool = True) -> Iterator[Any]:
    """The job now and whenever it changed, up to its end."""
    seen = 0
    while True:
        state = changed(client, job, seen, tasks)
        yield state
        if state["state"] in ENDED:
            return
        seen = state["seen"]


def changed(client: Client, job: int, seen: int, tasks: bool = True) -> Any:
    """The job as soon as it changed beyond `seen`, or after a while; with `finished_tasks`."""
    return client.get(f"/v1/jobs/{job}/wait", timeout=POLL_S, seen=seen, tasks=None if tasks else False)


def _show_json(client: Client, states: Iterator[Any]) -> int:
    told, last = None, None
    for last in states:
        if last["seen"] != told:
            emit_line(last)
            told = last["seen"]
    return _status(last)


def _show_one(client: Client, states: Iterator[Any]) -> int:
    """Its log, attempt after attempt, as it is written."""
    write, shown, why = writer(), 0, ""
    job: Any = None
    for job in states:
        for attempt in client.get(f"/v1/tasks/{job['id']}.1")["attempts"][shown:]:
            if shown:
                say(f"attempt {attempt['ref']}")
            for part in stream(client, attempt["ref"], POLL_S):
                write(part.data)
            shown += 1
        why = _explain(job, why)
    if job["state"] == "failed":
        say(failure(client.get(f"/v1/tasks/{job['id']}.1")))
    return _ended(job, False)


def _explain(job: Any, told: str) -> str:
    """Say why it waits, once per reason; what was said."""
    why = job["why"] or ""
    if why and why != told and job["state"] not in ENDED and sys.stderr.isatty():
        say(why)
    return why


def _show_many(client: Client, states: Iterator[Any]) -> int:
    job = first = next(states)
    lament = Lament(client, first["tasks"]["total"])
    with _meter(first) as show:
        for job in chain([first], states):
            for task in job["finished_tasks"]:
                lament.of(task)
            show(job)
    lament.end()
    return _ended(job, False)


@contextmanager
def _meter(job: Any) -> Iterator[Callable[[Any], None]]:
    """How far it is: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=job["tasks"]["total"])
        yield lambda job: bar.update(task, completed=_over(job["tasks"]), description=progress(job["tasks"]))


def _over(counts: dict[str, int]) -> int:
    return sum(counts[state] for state in ("done", "failed", "cancelled", "skipped"))


def _lines() -> Callable[[Any], None]:
    told, told_at = "", -60.0

    def show(job: Any) -> None:
        nonlocal told, told_at
        text, now = progress(job["tasks"]), time.monotonic()
        if text != told and now - told_at >= 2:
            say(text)
            told, told_at = text, now

    return show


def _ended(job: Any, json: bool) -> int:
    if json:
        emit_line(job)
        return _status(job)
    took = span(job["started"], job["finished"])
    cost = f", cost {job['cost']}" if job["cost"] else ""
    say(f"job {job['id']} {job['state']}: {progress(job['tasks'])}, took {took or 'no time'}{cost}")
    if job["state"] != "done":
        say(f"see `farm show {job['id']}`; run again what failed with `farm retry {job['id']}`")
    return _status(job)


def _status(job: Any) -> int:
    return 0 if job["state"] == "done" else 1
