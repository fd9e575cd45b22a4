"""From words to values, for the few types the commands use.

Typer's own conversion imports pydantic, 0.25 s of every command, so that `process_value` of each parameter is replaced.
"""

from collections.abc import Callable
from difflib import get_close_matches
from enum import StrEnum
from math import isfinite
from typing import Any, get_args, get_type_hints

from farm.refusal import Refusal

PATHS = ("FILE", "FOLDER", "PATH", "DIR", "REPOSITORY", "SCENE", "TREE", "DEST")  # metavars of what lies on a disk


def lighten(command: Any, function: Callable[..., Any]) -> Any:
    """Give every parameter of a command its light conversion; the command."""
    hints = get_type_hints(function)
    for param in command.params:
        if param.name in hints:
            param.process_value = _conversion(param, _kind(hints[param.name]))
    return command


def _kind(hint: Any) -> type:
    """The type of one value: int for `int | None`, str for `list[str] | None`."""
    if isinstance(hint, type) and not get_args(hint):
        return hint
    kinds = [_kind(part) for part in get_args(hint) if part is not type(None)]
    return kinds[0]


def _conversion(param: Any, kind: type) -> Callable[[Any, Any], Any]:
    def convert(context: Any, value: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if _is_path(param) and "" in ((value or ()) if many else (value,)) and _typed(context, param):
            raise Refusal("the path is empty", _name(param), _UNSET)
        if param.required and (value is None or (many and not value)):
            path = context.command_path
            raise Refusal(f"{_name(param)} is missing", path, f"type `{path} --help` for what it takes")
        if value is None:
            return () if many else None
        return tuple(_one(param, kind, each) for each in value) if many else _one(param, kind, value)

    return convert


_UNSET = "was a variable of the shell not set? write . for the folder you are in"


def _is_path(param: Any) -> bool:
    """Whether the value lies on a disk, where an empty one would mean the current folder. Homes have words of their
    own for it."""
    return (param.metavar or "").strip("[]") in PATHS and param.name != "home"


def _typed(context: Any, param: Any) -> bool:
    source = context.get_parameter_source(param.name)
    return source is None or source.name == "COMMANDLINE"


def _one(param: Any, kind: type, value: Any) -> Any:
    if not isinstance(value, str) or kind is str:
        return value
    if issubclass(kind, StrEnum):
        return _choice(param, kind, value)
    return _number(param, kind, value)


def _number(param: Any, kind: type, text: str) -> int | float:
    try:
        number: int | float = float(text) if kind is float else int(text)
    except ValueError:
        raise Refusal(f"{text!r} is no {'' if kind is float else 'whole '}number", _name(param)) from None
    if not isfinite(number):
        raise Refusal(f"{text!r} is out of range", _name(param), "write a number such as 0.5")
    if (param.min is not None and number < param.min) or (param.max is not None and number > param.max):
        least, most = ("" if bound is None else bound for bound in (param.min, param.max))
        raise Refusal(f"{number} is out of range", _name(param), f"write one within {least}…{most}")
    return number


def _choice(param: Any, kind: type[StrEnum], text: str) -> StrEnum:
    known = [choice.value for choice in kind]
    if text not in known:
        near = get_close_matches(text, known, 1)
        remedy = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
        raise Refusal(f"{text!r} is not known", _name(param), remedy)
    return kind(text)


def _name(param: Any) -> str:
    """As the user knows it: --array, JOB."""
    longest: str = max(param.opts, key=len)
    return longest if longest.startswith("-") else (param.metavar or longest.upper())
