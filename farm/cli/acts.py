"""`farm hold`, `release`, `set`, `drain`, `stop-spending`, `resume-spending`, `acts`."""

import re
from typing import Annotated, Any
from urllib.parse import quote

import typer

from farm.cli.deadline import deadline as read_deadline
from farm.cli.moments import moment
from farm.cli.options import HomeOption, JobArgument, JsonOption
from farm.cli.output import clean, emit, say, table
from farm.cli.reach import reader
from farm.cli.values import name, positive
from farm.refusal import Refusal

TargetArgument = Annotated[
    str, typer.Argument(metavar="JOB|LANE|POOL", help="17, lane:bulk, pool:ec2; or a name that only one of them has.")
]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for whoever asks later.")]


def hold(about: TargetArgument, why: WhyOption = "", home: HomeOption = None, json: JsonOption = False) -> int:
    """What runs goes on to its end; nothing more starts until `farm release`. A held pool orders nothing, and its
    executors go when their work ends, idle ones at once."""
    found = _post(home, "/v1/hold", {"what": _said(about), "why": why})
    if json:
        emit(found)
        return 0
    running = found["running"]
    rest = f"; {running} {'task goes' if running == 1 else 'tasks go'} on to the end" if running else ""
    print(f"{found['kind']} {clean(found['name'])} is held{rest}")
    return 0


def release(about: TargetArgument, why: WhyOption = "", home: HomeOption = None, json: JsonOption = False) -> int:
    """Its work is handed out again."""
    found = _post(home, "/v1/release", {"what": _said(about), "why": why})
    if json:
        emit(found)
    else:
        print(f"{found['kind']} {clean(found['name'])} is released")
    return 0


def set_job(
    job: JobArgument,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help="Higher is earlier, within the lane.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="18:00, '2026-03-01 18:00' (this machine's zone), +2h from now, or none."),
    ] = None,
    lane: Annotated[str | None, typer.Option(help="Another class of jobs, as in farm.toml.")] = None,
    why: WhyOption = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """What has not begun moves to its new place in the queue. A deadline makes a job due early enough to be done by
    then, at most as early as priority 100 does; it never makes it later."""
    new: dict[str, Any] = {"priority": priority, "lane": name(lane, "--lane")}
    new["deadline"] = None if deadline is None else read_deadline(deadline)
    given = {key: value for key, value in new.items() if value is not None}
    if not given:
        raise Refusal("nothing is to be set", f"farm set {job}", "give --priority, --deadline or --lane")
    found = _post(home, f"/v1/jobs/{positive(job, 'JOB')}/set", given | {"why": why})
    if json:
        emit(found)
        return 0
    for key, (before, after) in found["changed"].items():
        print(f"job {found['job']}: {key} {_value(key, after)} instead of {_value(key, before)}")
    return 0


def drain(
    executor: Annotated[str, typer.Argument(metavar="EXECUTOR", help="As `farm executors` names it.")],
    why: WhyOption = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """It goes when its running tasks have ended; the farm replaces it if the work still needs one."""
    if not executor.strip():
        raise Refusal("the name is empty", "EXECUTOR", "see `farm executors`")
    found = _post(home, f"/v1/executors/{quote(executor, safe='')}/drain", {"why": why})
    if json:
        emit(found)
    else:
        print(f"executor {clean(found['executor'])} gets no more work and goes when its tasks have ended")
    return 0


def stop_spending(why: WhyOption = "", home: HomeOption = None, json: JsonOption = False) -> int:
    """Pools that cost money order nothing more: idle executors go at once, the others when their running tasks have
    ended. Pools whose price is 0 go on."""
    found = _post(home, "/v1/spending", {"stopped": True, "why": why})
    if json:
        emit(found)
    elif found["pools"]:
        print(f"nothing more is spent by {', '.join(map(clean, found['pools']))}; running tasks go on to their end")
    else:
        print("spending is stopped; no pool costs money now")
    return 0


def resume_spending(why: WhyOption = "", home: HomeOption = None, json: JsonOption = False) -> int:
    """Backlog and opening hours decide again."""
    found = _post(home, "/v1/spending", {"stopped": False, "why": why})
    if json:
        emit(found)
    else:
        print("pools that cost money may order executors again")
    return 0


def acts(
    about: Annotated[
        str | None, typer.Argument(metavar="[JOB|LANE|POOL|EXECUTOR]", help="17, lane:bulk, pool:ec2, executor:ID.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """First what is held now, then what was done, the newest first."""
    with reader(home) as client:
        found = client.get("/v1/acts", about=about, limit=limit)
    if json:
        emit(found)
        return 0
    for held in found["held"]:
        print(_held(held))
    if not found["acts"]:
        say("nothing was held, set or stopped")
        return 0
    if found["held"]:
        print()
    table(("when", "who", "what", "about", "details", "why"), [_row(act) for act in found["acts"]])
    return 0


def _post(home: str | None, path: str, body: dict[str, Any]) -> Any:
    if _CONTROL.search(body["why"]):
        raise Refusal("the reason holds a line break or a control character", "--why", "write it in one plain line")
    with reader(home) as client:
        return client.post(path, body)


def _said(text: str) -> str:
    if not text.strip():
        raise Refusal("the name is empty", "JOB|LANE|POOL", "write 17, lane:NAME or pool:NAME")
    return text.strip()


def _held(held: dict[str, Any]) -> str:
    what = "spending is stopped" if held["kind"] == "spending" else f"{held['kind']} {held['name']} is held"
    why = f": {held['why']}" if held["why"] else ""
    return clean(f"{what} by {held['who']} since {moment(held['at'])}{why}")


def _row(act: dict[str, Any]) -> list[Any]:
    about = f"{act['kind']} {act['name']}" if act["name"] else ""
    details = ", ".join(f"{key} {_value(key, old)} → {_value(key, new)}" for key, (old, new) in act["details"].items())
    return [moment(act["at"]), act["who"], act["verb"], about, details, act["why"]]


def _value(key: str, value: Any) -> str:
    if value is None:
        return "none"
    return moment(value) if key == "deadline" else clean(str(value))
