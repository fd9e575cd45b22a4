"""`farm submit`, which is also `submit-job`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli import values
from farm.cli.booking import Booking
from farm.cli.bounds import Bounds
from farm.cli.deadline import deadline
from farm.cli.options import FetchOption, HoldOption, HomeOption, JsonOption, NameOption, WaitOption
from farm.cli.output import emit, say
from farm.cli.reach import Place, place_of, submitter
from farm.cli.step import Step
from farm.client import Client
from farm.refusal import Refusal
from farm.workloads.command import files_of, sayable


def submit(
    command: Annotated[list[str], typer.Argument(metavar="[--] COMMAND...", help="What to run, and its arguments.")],
    *,
    name: NameOption = None,
    booking: Booking,
    hold: HoldOption = False,
    after: Annotated[
        list[str] | None, typer.Option(metavar="JOB", help="Start only when this job has succeeded; may be repeated.")
    ] = None,
    start_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin no sooner: 18:00, '2026-03-01 18:00' or +2h.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="PATH", help="File or folder the task sees; may be repeated."),
    ] = None,
    step: Step,
    bounds: Bounds,
    wait: WaitOption = False,
    fetch: FetchOption = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """A task runs in a folder of its own that holds its inputs and nothing else. {index} (or {frame}) is replaced, no
    other word is; FARM_JOB, FARM_TASK, FARM_ATTEMPT, FARM_INDEX and FARM_SCRATCH are set."""
    job = {
        "kind": "command",
        "steps": [step.told(command, bounds)],
        "name": values.name(name, "--name") or values.named_after(command[0]),
        **booking.told(),
        "after": [values.positive(one, "--after") for one in after or []],
        "held": held(hold, wait or fetch is not None),
    }
    if start_after is not None:
        job["start_after"] = deadline(start_after, option="--start-after") or None
    files = files_of([Path(path) for path in inputs or []])
    placing = Placing(place_of(home), wait or fetch is not None, json, fetching(fetch), booking.owner)
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
