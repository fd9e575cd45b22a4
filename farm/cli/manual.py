"""docs/commands.md, made from the commands themselves: `python -m farm.cli.manual > docs/commands.md`."""

from collections.abc import Iterator
from typing import Any

from farm.cli.commands import COMMANDS, Entry
from farm.cli.group import command

EVERYWHERE = ("home", "json", "help")
_HEAD = """# Commands

Made from the commands themselves by `python -m farm.cli.manual`; `farm COMMAND --help` says the same and more.

Every command takes `--help`, `--json` (one JSON value, or JSON lines where it follows something) and `--home FOLDER`
(else `FARM_HOME`, else a folder by XDG). Exit status: 0 fine, 1 a job failed, 2 the request is wrong, 3 the farm or its
environment is, 130 Ctrl-C. Errors go to stderr, with `--json` also to stdout: `{"error": {"what", "where", "remedy"}}`.
`submit-job` is `farm submit`.
"""


def commands_md() -> str:
    """The whole document."""
    shown = {name: entry for name, entry in COMMANDS.items() if not entry.hidden}
    made = {name: command(name, entry) for name, entry in shown.items()}
    return "\n".join([_HEAD, *_table(shown, made), *_sections(shown, made)]) + "\n"


def _table(shown: dict[str, Entry], made: dict[str, Any]) -> Iterator[str]:
    yield "| command | what it does |"
    yield "|---|---|"
    for name, entry in shown.items():
        usage = _usage(name, made[name]).replace("|", "\\|")
        yield f"| `{usage}` | {entry.summary} |"


def _usage(name: str, made: Any) -> str:
    arguments = [param.metavar for param in made.params if param.param_type_name == "argument"]
    return " ".join(["farm", name, *arguments])


def _sections(shown: dict[str, Entry], made: dict[str, Any]) -> Iterator[str]:
    for name, entry in shown.items():
        yield f"\n## farm {name}\n"
        yield made[name].help
        yield "\n```sh"
        yield from entry.examples
        yield "```"
        yield from _options(made[name])


def _options(made: Any) -> Iterator[str]:
    options = [p for p in made.params if p.param_type_name == "option" and p.name not in EVERYWHERE]
    if options:
        yield "\n| option | meaning |"
        yield "|---|---|"
    for param in options:
        value = "" if param.is_flag else f" {_value(param)}"
        yield f"| `{', '.join(param.opts)}{value}` | {param.help} |"


def _value(param: Any) -> str:
    kind = getattr(param.type_descriptor.annotation, "__name__", "")
    named: str = param.metavar or ("N" if kind == "int" else "TEXT")
    return named.replace("|", "\\|")


if __name__ == "__main__":
    print(commands_md(), end="")
