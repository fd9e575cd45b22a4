"""`farm submit`, which is also `submit-job`."""

import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli import values
from farm.cli.options import (
    FetchOption,
    HoldOption,
    HomeOption,
    JsonOption,
    LaneOption,
    MaxOutputOption,
    MemoryOption,
    NameOption,
    OwnerOption,
    PriorityOption,
    ProcessesOption,
    ProjectOption,
    SilenceOption,
    TimeoutOption,
    WaitOption,
)
from farm.cli.output import emit, say
from farm.cli.reach import Place, place_of, submitter
from farm.client import Client
from farm.refusal import Refusal
from farm.workloads.command import check_command, files_of, sayable


def submit(
    command: Annotated[list[str], typer.Argument(metavar="[--] COMMAND...", help="What to run, and its arguments.")],
    name: NameOption = None,
    lane: LaneOption = "default",
    priority: PriorityOption = 0,
    hold: HoldOption = False,
    owner: OwnerOption = None,
    project: ProjectOption = "",
    array: Annotated[
        str | None, typer.Option(metavar="1-100[:2]", help="One task per index; {index} in the command becomes it.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="JOB", help="Start only when this job has succeeded; may be repeated.")
    ] = None,
    needs: Annotated[
        str | None, typer.Option(metavar="cpu=2,memory=4G", help="What one task needs; memory as with --memory.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Run a task again so often when it fails.")] = 0,
    licence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=N]", help="Holds so many (1) of this licence of farm.toml; may be repeated."),
    ] = None,
    licence_exit: Annotated[
        int | None,
        typer.Option(min=1, max=255, help='Exit status that means "no licence now": it waits and tries again.'),
    ] = None,
    licence_wait: Annotated[
        str | None, typer.Option(metavar="24h", help="Fail when there is no licence for so long (24h).")
    ] = None,
    timeout: TimeoutOption = None,
    silence: SilenceOption = None,
    memory: MemoryOption = None,
    max_output: MaxOutputOption = None,
    processes: ProcessesOption = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Environment of the command; K alone takes this shell's.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=file:PATH|env:NAME",
            help="More of its environment: the service reads it when the task starts, and blots it out of the log.",
        ),
    ] = None,
    cwd: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where to run: below the task's own folder, or absolute.")
    ] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="PATH", help="File or folder the task sees; may be repeated."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="GLOB", help="Files to keep, for `farm get`; may be repeated."),
    ] = None,
    wait: WaitOption = False,
    fetch: FetchOption = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """A task runs in a folder of its own that holds its inputs and nothing else. {index} (or {frame}) is replaced, no
    other word is; FARM_JOB, FARM_TASK, FARM_ATTEMPT, FARM_INDEX and FARM_SCRATCH are set."""
    step: dict[str, Any] = {
        "argv": command,
        "env": values.environment(env or []),
        "secrets": values.secrets(secret or []),
        "cwd": sayable(cwd, "--cwd"),
        "retries": retries,
        "outputs": outputs or [],
        **_bounds(needs, values.limits(timeout, silence, memory, max_output, processes)),
        "licences": values.licences(licence or []),
        **_licence(licence_exit, licence_wait),
    }
    check_command(command, step["env"], step["outputs"])
    if array is not None:
        step["array"] = values.array(array)
    else:
        _warn_of_tokens(step)
    job = {
        "kind": "command",
        "name": values.name(name, "--name") or values.named_after(command[0]),
        "lane": sayable(lane, "--lane"),
        "priority": priority,
        "owner": values.name(owner, "--owner") or me(),
        "project": sayable(project, "--project"),
        "after": [values.positive(one, "--after") for one in after or []],
        "held": held(hold, wait or fetch is not None),
        "steps": [step],
    }
    files = files_of([Path(path) for path in inputs or []])
    placing = Placing(place_of(home), wait=wait or fetch is not None, json=json, finished=fetching(fetch), owner=owner)
    return placing.place(lambda client: _send(client, job, files))


def held(hold: bool, wait: bool) -> bool:
    """Raises Refusal for what nobody would see the end of."""
    if hold and wait:
        raise Refusal("a held job does not begin by itself", "--hold", "leave out --wait, and `farm release` it first")
    return hold


def fetching(folder: str | None) -> "Callable[[Client, Any], None] | None":
    """What --fetch does with each task that ended. Raises Refusal when there can't be such a folder."""
    if folder is None:
        return None
    from farm.cli.get import Fetching, make_folder

    make_folder(Path(sayable(folder, "--fetch")))
    return Fetching(Path(folder), overwrite=True)


def _bounds(needs: str | None, limits: dict[str, Any]) -> dict[str, Any]:
    """Needs and limits; both may name the memory, but not two different ones."""
    needed = values.needs(needs)
    if "memory" in needed and limits.get("memory", needed["memory"]) != needed["memory"]:
        raise Refusal("the memory is given twice, and differs", "--needs and --memory", "leave one of them out")
    return {**needed, **limits}


def _licence(code: int | None, wait: str | None) -> dict[str, Any]:
    if wait is not None and code is None:
        raise Refusal("which exit means that there is no licence?", "--licence-wait", "add --licence-exit 77")
    if code is None:
        return {}
    return {"licence_exit": code, "licence_wait_s": values.seconds(wait or "24h", "--licence-wait")}


def _warn_of_tokens(step: dict[str, Any]) -> None:
    texts = [*step["argv"], *step["env"].values(), *step["outputs"]]
    if found := next((token for token in values.TOKENS if any(token in text for text in texts)), None):
        say(f"{found} stays as it is, for only the tasks of an array have one; add --array 1-10 if that was meant")


def me() -> str:
    """The name of this user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _send(client: Client, job: dict[str, Any], files: dict[str, Path]) -> int:
    if files:
        from farm.cli.uploads import upload

        job["steps"][0]["inputs"] = upload(client, files)
    return int(client.submit("/v1/jobs", job)["id"])


@dataclass(frozen=True, slots=True)
class Placing:
    """How a job is brought to a farm: and stayed with, when `wait`; `finished` is called with each task that ended.
    `owner` is who was named by --owner, if anybody was."""

    at: Place
    wait: bool
    json: bool
    finished: Callable[[Client, Any], None] | None = None
    owner: str | None = None

    def place(self, send: Callable[[Client], int | None]) -> int:
        """Submit by `send`, which may find nothing to do; the exit status."""
        if self.owner is not None:
            send = partial(_told_owner, send, self.owner)
        if self.wait:
            from farm.cli.wait import submit_and_wait

            return submit_and_wait(self.at, send, json=self.json, finished=self.finished)
        with submitter(self.at) as client:
            job = send(client)
            if job is not None:
                _placed(job, client.running, self.json)
        return 0


def _told_owner(send: Callable[[Client], int | None], wanted: str, client: Client) -> int | None:
    """Whose a job is decides the token, elsewhere; who named somebody else hears of it."""
    job = send(client)
    if client.at and job is not None:
        with suppress(Refusal):  # the job is there, whatever happens to this question
            booked = client.get(f"/v1/jobs/{job}")["owner"]
            if booked != wanted:
                say(f"--owner {wanted} does not count there: the job is booked on {booked}, to whom the token belongs")
    return job


def _placed(job: int, running: bool, json: bool) -> None:
    if json:
        emit({"id": job})
    else:
        print(f"job {job}")
    if not running:
        say(f"no farm is running: job {job} waits in the queue until `farm up`")
