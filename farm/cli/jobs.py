"""`farm jobs`, `farm show`, `farm cancel`, `farm retry`."""

from typing import Annotated, Any

import typer

from farm.cli import values
from farm.cli.moments import expected, moment, progress, span
from farm.cli.options import HomeOption, JsonOption, RefArgument
from farm.cli.output import emit, facts, say, table
from farm.cli.reach import reader
from farm.client import Client
from farm.reference import parse_reference


def jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state, such as running.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only jobs of this owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """States: held, queued, running, done, failed, cancelled. Works without a running farm too."""
    wanted = values.choice(state, values.JOB_STATES, "--state")
    owner = values.name(owner, "--owner")
    with reader(home) as client:
        found = client.get("/v1/jobs", state=wanted, owner=owner, limit=limit)
    if json:
        emit(found)
        return 0
    if not found["jobs"]:
        say("no jobs; submit one with `farm submit -- COMMAND`")
        return 0
    table(
        ("job", "name", "state", "tasks", "lane", "owner", "submitted", "took", "cost"),
        [_row(job) for job in found["jobs"]],
        numbers=("job", "cost"),
    )
    return 0


def _row(job: dict[str, Any]) -> list[Any]:
    took = span(job["started"], job["finished"])
    return [
        job["id"],
        job["name"],
        job["state"],
        progress(job["tasks"]),
        job["lane"],
        job["owner"],
        moment(job["submitted"]),
        took,
        job["cost"],
    ]


def show(
    ref: RefArgument,
    state: Annotated[str | None, typer.Option(help="Only tasks in this state, such as failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many tasks.")] = 200,
    offset: Annotated[int, typer.Option(min=0, max=1_000_000_000, help="Leave out so many tasks before.")] = 0,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """With --json a job carries its tasks, a task its attempts. 17.3.2 is one attempt. Tasks of an array that have not
    begun are listed after the others."""
    about = parse_reference(ref)
    state = values.choice(state, values.TASK_STATES, "--state")
    with reader(home) as client:
        if about.number is None:
            found = _job(client, about.job, state, limit, offset)
        else:
            found = client.get(f"/v1/tasks/{about}")
        waits = client.get(f"/v1/why/{about}")["sentence"] if found.get("state") in WAITS and not json else ""
        note = client.log(ref, 1 << 40).note if about.ordinal else ""
    if json:
        emit(found)
    elif about.number is None:
        _show_job(found | {"waits": waits}, state, offset)
    elif about.ordinal is None:
        _show_task(found | {"waits": waits})
    else:
        _show_attempt(found["attempts"][0], note)
    return 0


def _show_attempt(attempt: dict[str, Any], note: str) -> None:
    names = ("ref", "state", "accepted", "exit", "cause", "message", "executor", "cpu_s", "rss_mib")
    facts((name, attempt.get(name)) for name in names)
    times = [(name, moment(attempt[name])) for name in ("claimed", "started", "finished")]
    facts([*times, ("took", span(attempt["started"], attempt["finished"])), ("log", note or None)])
    facts(("refused", _late(attempt["ref"], late)) for late in attempt["refused"])


WAITS = ("held", "queued", "blocked", "ready")  # `farm why` says for what


def _job(client: Client, job: int, state: str | None, limit: int, offset: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}")
    listed = client.get(f"/v1/jobs/{job}/tasks", state=state, limit=limit, offset=offset, every=True)["tasks"]
    return {**found, "listed": listed}


def _show_job(job: dict[str, Any], state: str | None, offset: int) -> None:
    names = ("name", "kind", "state", "why", "owner", "project", "lane", "priority", "after")
    shown = [(name, job.get(name)) for name in names]
    took = span(job["started"], job["finished"])
    facts([("job", job["id"]), *shown, ("submitted", moment(job["submitted"])), ("took", took)])
    late = ("deadline", moment(job.get("deadline")))
    facts(
        [("tasks", progress(job["tasks"])), ("waits", job["waits"]), late, ("cost", job["cost"]), *job["extra"].items()]
    )
    many = len(job.get("predicted", ())) > 1
    facts((f"expected {one['step']}" if many else "expected", expected(one)) for one in job.get("predicted", ()))
    if not job["listed"]:
        return
    print()
    table(
        ("task", "name", "state", "exit", "executor", "took", "cpu s", "rss MiB", "cause"),
        [_task_row(task) for task in job["listed"]],
        numbers=("exit", "cpu s", "rss MiB"),
    )
    next_one = offset + len(job["listed"])
    if (more := job["tasks"][state or "total"] - next_one) > 0:
        chosen = f"--state {state} " if state else ""
        say(f"and {more} more; go on with `farm show {job['id']} {chosen}--offset {next_one}`")


def _task_row(task: dict[str, Any]) -> list[Any]:
    took = span(task["started"], task["finished"])
    columns = ("ref", "name", "state", "exit", "executor")
    return [*(task[name] for name in columns), took, task["cpu_s"], task["rss_mib"], task["cause"]]


def _show_task(task: dict[str, Any]) -> None:
    facts((name, task.get(name)) for name in ("ref", "name", "index", "state", "exit", "cause", "cpu_s", "rss_mib"))
    facts([("expected", expected(task["predicted"]) if "predicted" in task else None), ("waits", task["waits"])])
    for file in task.get("outputs") or ():
        facts([("output", f"{file['path']} ({file['size']} bytes)")])
    if not task["attempts"]:
        return
    print()
    table(
        ("attempt", "state", "exit", "executor", "started", "took", "cause", "message"),
        [_attempt_row(attempt) for attempt in task["attempts"]],
        numbers=("exit",),
    )
    for attempt in task["attempts"]:
        facts(("refused", _late(attempt["ref"], late)) for late in attempt["refused"])


def _late(ref: str, late: dict[str, Any]) -> str:
    """A result that came too late or with a wrong token."""
    return f"{ref} from {late['executor']} at {moment(late['at'])}: exit {late['exit']} {late['cause']}, not used"


def _attempt_row(attempt: dict[str, Any]) -> list[Any]:
    begin, end = attempt["started"], attempt["finished"]
    state = f"{attempt['state']}, accepted" if attempt["accepted"] else attempt["state"]
    what = [attempt["ref"], state, attempt["exit"], attempt["executor"]]
    return [*what, moment(begin), span(begin, end), attempt["cause"], attempt["message"]]


def cancel(ref: RefArgument, home: HomeOption = None, json: JsonOption = False) -> int:
    """What has not begun never does; what runs is asked to end, then ended."""
    return _change(ref, "cancel", "cancelled", home, json)


def retry(ref: RefArgument, home: HomeOption = None, json: JsonOption = False) -> int:
    """What was done stays done."""
    return _change(ref, "retry", "to be run again", home, json)


def _change(ref: str, verb: str, outcome: str, home: str | None, json: bool) -> int:
    about = parse_reference(ref)
    with reader(home) as client:
        changed = client.post(f"/v1/jobs/{about}/{verb}")
    if json:
        emit(changed)
    else:
        count = changed["changed"]
        print(f"{about}: {count} {'task' if count == 1 else 'tasks'} {outcome}")
    return 0
