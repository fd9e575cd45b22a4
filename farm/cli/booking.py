"""Who a job is for, and where in the queue it stands: options of every command that brings one in."""

import os
import pwd
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from farm.cli import values
from farm.workloads.command import sayable


@dataclass(frozen=True, slots=True)
class Booking:
    """Of a job."""

    lane: Annotated[str, typer.Option(help="Class of jobs with a waiting time to aim for, as in farm.toml.")] = (
        "default"
    )
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Higher is earlier, within the lane.")] = 0
    owner: Annotated[str | None, typer.Option(help="Who pays; else the name of this user.")] = None
    project: Annotated[str, typer.Option(help="What it is for; a column of the reports.")] = ""

    def told(self) -> dict[str, Any]:
        """As the API wants it. Raises Refusal."""
        return {
            "lane": sayable(self.lane, "--lane"),
            "priority": self.priority,
            "owner": values.name(self.owner, "--owner") or me(),
            "project": sayable(self.project, "--project"),
        }


def me() -> str:
    """The name of this user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
