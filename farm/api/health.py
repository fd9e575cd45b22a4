"""Whether the service is well, for who keeps it running: no token, and nothing told but that.

Who stands by takes a service that does not answer for frozen. So nothing is waited for here that others may use up: no
thread, no connection."""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import text

from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.db import Database
from farm.refusal import Unavailable

router = APIRouter(route_class=Checked)
_ANYTHING = text("SELECT 1")
ANSWER_S = 1.0  # less than one that stands by waits for an answer


class Pulse:
    """Asks the database whether it is there, by one thread at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._asked: Future[None] | None = None

    def feel(self) -> Future[None]:
        """Called in one thread only."""
        if self._asked is None or self._asked.done():
            self._asked = Future()
            threading.Thread(target=self._look, args=(self._asked,), name="health", daemon=True).start()
        return self._asked

    def _look(self, asked: Future[None]) -> None:
        try:
            with self._db.beside.read() as tx:
                tx.execute(_ANYTHING)
            asked.set_result(None)
        except BaseException as error:
            asked.set_exception(error)


@router.get("/health")
async def health(request: Request, farm: Farmed) -> dict[str, Any]:
    """It answers, and its database does."""
    state = request.app.state
    if not hasattr(state, "pulse"):
        state.pulse = Pulse(farm.db)
    asked = asyncio.wrap_future(state.pulse.feel())
    asked.add_done_callback(lambda one: one.cancelled() or one.exception())  # nobody may be there any more to hear it
    if not (await asyncio.wait([asked], timeout=ANSWER_S))[0]:
        raise Unavailable("the database does not answer", farm.db.where, "look at it, and at the machine's load")
    asked.result()
    return {"well": True}
