"""Typer groups that import a command only when it is used."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from farm.cli.commands import ABOUT, COMMANDS, Entry, overview
from farm.cli.convert import lighten
from farm.cli.spread import spread
from farm.refusal import Refusal

HELP = {"help_option_names": ["-h", "--help"]}


class _LightHelp:
    """A --help that is False where it is not given, not None, which typer would convert (see farm.cli.convert)."""

    def get_help_option(self, ctx: typer.Context) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        option.default = False
        return option


class _Command(_LightHelp, TyperCommand):  # type: ignore[misc]
    pass


class LazyGroup(_LightHelp, TyperGroup):  # type: ignore[misc]
    """A group over the entries of the table that begin with its own words."""

    def __init__(self, entries: Mapping[str, Entry], prefix: str = "", **settings: Any) -> None:
        super().__init__(rich_markup_mode=None, context_settings=HELP, **settings)
        self._entries = {name.removeprefix(prefix): entry for name, entry in entries.items() if name.startswith(prefix)}
        self._prefix = prefix

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(dict.fromkeys(name.split()[0] for name in self._entries))

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name in self._entries:
            return command(self._prefix + cmd_name, self._entries[cmd_name])
        below = f"{self._prefix}{cmd_name} "
        if any(name.startswith(f"{cmd_name} ") for name in self._entries):
            return LazyGroup(COMMANDS, below, name=cmd_name, help=f"{cmd_name.capitalize()}:")
        return None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise self._no_such(args[0])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if not args:
            names = ", ".join(f"`farm {self._prefix}{name}`" for name in self._entries)
            raise Refusal(f"`farm {self._prefix.strip()}` needs one more word", remedy=f"type one of {names}")
        return super().parse_args(ctx, args)

    def _no_such(self, word: str) -> Refusal:
        near = get_close_matches(word, list(self.list_commands(None)), 1)  # type: ignore[arg-type]
        remedy = f"did you mean `farm {self._prefix}{near[0]}`?" if near else "type `farm --help` for all commands"
        return Refusal(f"no such command: {self._prefix}{word!r}", remedy=remedy)


class _Root(LazyGroup):
    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]
        return overview()


def root() -> LazyGroup:
    """The group behind `farm`."""
    return _Root(COMMANDS, name="farm", help=ABOUT)


def command(name: str, entry: Entry) -> Any:
    """Import and build one command."""
    module, function = entry.target.split(":")
    act = spread(getattr(import_module(f"farm.cli.{module}"), function))
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        name.split()[-1],
        help=f"{entry.summary}\n\n{_doc(act)}",
        epilog="\b\nExamples:\n" + "\n".join(f"  {line}" for line in entry.examples),
        context_settings={**HELP, "allow_interspersed_args": not entry.foreign},
        hidden=entry.hidden,
        cls=_Command,
    )(act)
    return lighten(typer.main.get_command(app), act)


def _doc(act: Any) -> str:
    import inspect

    return inspect.getdoc(act) or ""
