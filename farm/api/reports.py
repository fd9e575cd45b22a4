"""What it cost, and what always-on would have cost."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator

from farm.api.farmed import Farmed
from farm.bills import bill
from farm.costs import By

router = APIRouter()


def _written(given: object) -> object:
    """A bare number would be taken for seconds since 1970."""
    if isinstance(given, str) and given.replace(".", "").lstrip("+-").isdecimal():
        raise ValueError(f"{given[:40]!r} is no time; write it like 2026-01-31T12:00:00Z")
    return given


Moment = Annotated[datetime, BeforeValidator(_written)]


@router.get("/reports/cost")
def cost(farm: Farmed, by: By = "job", since: Moment | None = None, until: Moment | None = None) -> dict[str, Any]:
    return bill(farm, by, since, until)


@router.get("/reports/usage")
def usage(farm: Farmed, by: By = "job", since: Moment | None = None, until: Moment | None = None) -> dict[str, Any]:
    return bill(farm, by, since, until)
