"""Whether the service is well, for who keeps it running: no token, and nothing told but that."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from farm.api.bodies import Checked
from farm.api.farmed import Farmed

router = APIRouter(route_class=Checked)
_ANYTHING = text("SELECT 1")


@router.get("/health")
def health(farm: Farmed) -> dict[str, Any]:
    """It answers, and its database does."""
    with farm.db.read() as tx:
        tx.execute(_ANYTHING)
    return {"well": True}
