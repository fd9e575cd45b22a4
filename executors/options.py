"""Options of a provider: its own model, and one way to say what is wrong with them."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from executors.errors import Refused


class Options(BaseModel):
    """Base of every provider's options: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Options)


def checked(model: type[Model], options: Mapping[str, Any], provider: str) -> Model:
    """The options as `model`. Raises Refused that says which option is wrong, why, and what is meant."""
    try:
        return model(**options)
    except ValidationError as error:
        told = [_told(model, e["type"], ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        raise Refused(f"options of a {provider} pool: {'; '.join(told)}") from error


def _told(model: type[Options], kind: str, name: str, message: str) -> str:
    if kind != "extra_forbidden":
        return f"{name}: {message}"
    return f"there is no option {name}{nearest(name, list(model.model_fields))}"


def nearest(name: str, known: list[str]) -> str:
    """`, did you mean X?`, or all that is known."""
    close = difflib.get_close_matches(name, known, 1)
    return f", did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
