"""The farm that a request is for."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

if TYPE_CHECKING:
    from farm.context import Farm


async def _farm(request: Request) -> Any:  # else each call would wait for a thread
    return request.app.state.farm


if TYPE_CHECKING:
    Farmed = Annotated[Farm, Depends(_farm)]
else:
    Farmed = Annotated[Any, Depends(_farm)]
