"""What stands behind the question mark: known words, each once."""

from fastapi import Request
from pydantic import BeforeValidator

from farm.api.errors import LONGEST
from farm.refusal import Refusal
from farm.wording import nearest


def _written(given: object) -> object:
    """A bare number would be taken for seconds since 1970."""
    if isinstance(given, str) and _number(given):
        raise ValueError(f"{given[:40]!r} is no time; write it like 2026-01-31T12:00:00Z, a day like 2026-01-31")
    return given


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Written = BeforeValidator(_written)


async def check(request: Request) -> None:
    """Raises Refusal: a misspelt filter that is passed over would answer another question."""
    if not request.query_params:
        return
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    names = [name for name, _ in request.query_params.multi_items()]
    for place, name in enumerate(names):
        if name not in known:
            raise Refusal(f"unknown parameter {name[:LONGEST]!r}", "the query", nearest(name[:LONGEST], known))
        if name in names[:place]:
            raise Refusal(f"{name!r} is given twice", "the query", "say it once")
