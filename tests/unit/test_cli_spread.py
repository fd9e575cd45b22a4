"""Options that several commands share are fields of a dataclass, and look to Typer like any others."""

from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import typer
from typer.testing import CliRunner

from farm.cli.spread import spread


@dataclass(frozen=True, slots=True)
class Shared:
    lane: Annotated[str, typer.Option(help="Where.")] = "default"
    often: Annotated[int, typer.Option(min=0)] = 1


def act(what: Annotated[str, typer.Argument()], *, before: bool = False, shared: Shared, after: str = "x") -> int:
    """It acts."""
    typer.echo(f"{what} {before} {shared} {after}")
    return 0


def test_fields_take_the_place_of_their_dataclass():
    assert list(signature(spread(act)).parameters) == ["what", "before", "lane", "often", "after"]
    assert spread(act).__doc__ == "It acts."


def test_what_is_typed_arrives_in_it():
    app = typer.Typer()
    app.command()(spread(act))
    done = CliRunner().invoke(app, ["w", "--often", "3", "--after", "y"])
    assert done.output == "w False Shared(lane='default', often=3) y\n"
    assert CliRunner().invoke(app, ["w", "--often", "-1"]).exit_code == 2


def test_a_command_without_any_stays_as_it_is():
    def plain(what: str = "") -> int:
        return len(what)

    assert spread(plain) is plain
