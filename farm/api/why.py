"""Why something waits, runs, failed or is there at all."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection

from farm.api.farmed import Farmed
from farm.reference import parse_reference
from farm.why import Explainer

router = APIRouter()


def _explainer(farm: Farmed, tx: Connection) -> Explainer:
    return Explainer(tx, farm.config, farm.clock.now(), farm.wheel is not None)


@router.get("/why/{ref}")
def work(farm: Farmed, ref: str) -> dict[str, Any]:
    about = parse_reference(ref)
    with farm.db.write() as tx:
        explain = _explainer(farm, tx)
        return asdict(explain.job(about.job) if about.number is None else explain.task(about))


@router.get("/why/executor/{name}")
def executor(farm: Farmed, name: str) -> dict[str, Any]:
    with farm.db.write() as tx:
        return asdict(_explainer(farm, tx).executor(name))


@router.get("/why/pool/{name}")
def pool(farm: Farmed, name: str) -> dict[str, Any]:
    with farm.db.write() as tx:
        return asdict(_explainer(farm, tx).pool(name))
