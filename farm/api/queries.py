"""What stands behind the question mark: known words, each once."""

from fastapi import Request

from farm.api.errors import LONGEST
from farm.refusal import Refusal
from farm.wording import nearest


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
