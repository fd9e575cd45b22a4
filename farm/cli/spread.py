"""Options that several commands have: fields of a dataclass, which a command takes as one parameter."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter, signature
from typing import Any, get_type_hints


def spread(act: Callable[..., int]) -> Callable[..., int]:
    """The command with each field of its dataclasses as a parameter of its own, as Typer wants it."""
    told = signature(act)
    groups: dict[str, Any] = {name: p.annotation for name, p in told.parameters.items() if is_dataclass(p.annotation)}
    if not groups:
        return act

    def called(**given: Any) -> int:
        made = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        return act(**given, **made)

    params = [one for p in told.parameters.values() for one in _fields(p)]
    called.__signature__ = told.replace(parameters=params)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in params}
    called.__doc__ = act.__doc__
    return called


def _fields(parameter: Parameter) -> list[Parameter]:
    kind = parameter.annotation
    if not is_dataclass(kind):
        return [parameter.replace(kind=Parameter.KEYWORD_ONLY)]
    hints = get_type_hints(kind, include_extras=True)
    return [_parameter(f, hints[f.name]) for f in fields(kind)]


def _parameter(field: "Field[Any]", hint: Any) -> Parameter:
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
