"""Long polls: they wait on threads of their own, so that they hold up nobody, and end when their client leaves."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from anyio.lowlevel import RunVar
from fastapi import Request

from farm.refusal import Unavailable

if TYPE_CHECKING:
    from anyio import CapacityLimiter

    from farm.context import Farm

MOST = 256  # waiting at once; more wait for their turn
T = TypeVar("T")
Left = Callable[[], bool]
MACHINES = 2000  # those of machines, which all wait nearly all the time
_waiting: "RunVar[CapacityLimiter]" = RunVar("polls")
_standing: "RunVar[CapacityLimiter]" = RunVar("machines")
_threads: "RunVar[CapacityLimiter]" = RunVar("threads")  # as many: who has a place has one of these


async def poll(farm: "Farm", request: Request, wait: Callable[[Left], T]) -> T:
    """What `wait` answers. It is told whether the client has left, and woken through the feed when that happens."""
    from anyio import to_thread

    left = threading.Event()
    watching = asyncio.create_task(_watch(farm, request, left))
    try:
        return await to_thread.run_sync(wait, left.is_set, limiter=_limiter(_waiting, MOST))
    finally:
        watching.cancel()


class Crowded(Unavailable):
    """There is no room to wait. `retry_s` goes with the answer, and executors obey it."""

    retry_s = 5


async def held(wait: Callable[[], T]) -> T:
    """What `wait` answers to a machine. Raises Crowded: behind a crowd it would not be answered in time."""
    from anyio import WouldBlock, to_thread

    places, place = _limiter(_standing, MACHINES), object()
    try:
        places.acquire_on_behalf_of_nowait(place)  # before anything else runs: many may come in one moment
    except WouldBlock:
        raise Crowded(f"{MACHINES} machines wait here already", remedy=f"ask again in {Crowded.retry_s} s") from None
    try:
        return await to_thread.run_sync(wait, limiter=_limiter(_threads, MACHINES))
    finally:
        places.release_on_behalf_of(place)


def _limiter(of: "RunVar[CapacityLimiter]", most: int) -> "CapacityLimiter":
    """One per event loop."""
    from anyio import CapacityLimiter

    try:
        return of.get()
    except LookupError:
        made = CapacityLimiter(most)
        of.set(made)
        return made


async def _watch(farm: "Farm", request: Request, left: threading.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
    left.set()
    farm.feed.nudge()
