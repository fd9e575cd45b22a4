"""What it cost, and what always-on would have cost."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter

from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.api.queries import Written
from farm.bills import bill
from farm.costs import By

router = APIRouter(route_class=Checked)


Moment = Annotated[datetime, Written]


@router.get("/reports/cost")
def cost(farm: Farmed, by: By = "job", since: Moment | None = None, until: Moment | None = None) -> dict[str, Any]:
    return bill(farm, by, since, until)


@router.get("/reports/usage")
def usage(farm: Farmed, by: By = "job", since: Moment | None = None, until: Moment | None = None) -> dict[str, Any]:
    return bill(farm, by, since, until)
