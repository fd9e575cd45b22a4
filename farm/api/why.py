"""Why something waits, runs, failed or is there at all."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection

from farm import why
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.reference import parse_reference
from schedules.gaps import Gaps

router = APIRouter(route_class=Checked)


def _look(farm: Farmed, tx: Connection) -> why.Look:
    closing = farm.wheel is not None and farm.wheel.closing
    gaps = farm.wheel.gaps if farm.wheel is not None else Gaps()
    budgets = farm.wheel.spending.now if farm.wheel is not None else ()
    return why.Look(tx, farm.config, farm.clock.now(), farm.wheel is not None, closing, gaps, budgets)


@router.get("/why/{ref}")
def work(farm: Farmed, ref: str) -> dict[str, Any]:
    about = parse_reference(ref)
    with farm.db.write() as tx:
        look = _look(farm, tx)
        if about.number is None:
            return asdict(why.job(look, about.job))
        return asdict(why.task(look, about) if about.ordinal is None else why.attempt(look, about))


@router.get("/why/executor/{name}")
def executor(farm: Farmed, name: str) -> dict[str, Any]:
    with farm.db.write() as tx:
        return asdict(why.executor(_look(farm, tx), name))


@router.get("/why/pool/{name}")
def pool(farm: Farmed, name: str) -> dict[str, Any]:
    with farm.db.write() as tx:
        return asdict(why.pool(_look(farm, tx), name))
