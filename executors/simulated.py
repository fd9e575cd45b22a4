"""A cloud in memory: boot times, stock, prices, faults. It runs nothing; policies and properties are tried on it."""

import random
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from executors.contract import Machine, MachineState, Offer, Order, Placed, Refusal, Surroundings
from executors.errors import Lost, Refused, SoldOut, Throttled
from executors.options import Options, checked

OFFER = "simulated"
REMEMBERED = timedelta(minutes=10)  # how long an ended machine is listed


class Clock(Protocol):
    def now(self) -> datetime: ...


class WallClock:
    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)


class Dial:
    """A clock that stands still until it is turned."""

    def __init__(self, at: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def turn(self, by: timedelta) -> None:
        self._at += by


class Fault(StrEnum):
    """What the next launch meets."""

    SOLD_OUT = "sold-out"
    THROTTLED = "throttled"
    REFUSED = "refused"
    LOST_ANSWER = "lost-answer"  # the machines are bought, the answer never comes


class SimulatedOptions(Options):
    """Boot times are log-normal: median `boot_s`, `boot_spread` the sigma of the logarithm."""

    price_per_hour: Decimal = Decimal("0.10")
    slots: int = 1
    ceiling: int | None = None  # slots in all; None: as many as there is stock
    stock: int = 1000
    boot_s: float = 30
    boot_spread: float = 0.3
    seed: int = 0
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _Rented:
    id: str
    order: str
    slots: int
    launched_at: datetime
    ready_at: datetime
    ended_at: datetime | None = None
    error: str = ""


class Cloud:
    """Outlives the provider objects that talk to it, as a real one does."""

    def __init__(self, options: SimulatedOptions, clock: Clock) -> None:
        self.options, self.clock = options, clock
        self.faults: deque[Fault] = deque(options.faults)
        self._random = random.Random(options.seed)
        self._rented: dict[str, _Rented] = {}
        self._changed = threading.Condition()
        self._vanished: list[str] = []

    def rent(self, token: str, count: int, slots: int) -> list[_Rented]:
        """What this token bought before, and up to `count` in all while stock lasts."""
        with self._changed:
            now = self.clock.now()
            names = [f"{token}-{n}" for n in range(1, count + 1)]
            for name in names:
                if name not in self._rented and self._left() > 0 and self._fits(slots):
                    self._rented[name] = _Rented(name, token, slots, now, now + self._boot())
            return [self._rented[name] for name in names if name in self._rented]

    def _boot(self) -> timedelta:
        return timedelta(seconds=self.options.boot_s * self._random.lognormvariate(0, self.options.boot_spread))

    def _left(self) -> int:
        return self.options.stock - sum(not r.ended_at for r in self._rented.values())

    def _fits(self, slots: int) -> bool:
        taken = sum(r.slots for r in self._rented.values() if not r.ended_at)
        return self.options.ceiling is None or taken + slots <= self.options.ceiling

    def listing(self) -> list[_Rented]:
        now = self.clock.now()
        with self._changed:
            return [r for r in self._rented.values() if not r.ended_at or now - r.ended_at < REMEMBERED]

    def end(self, ids: Collection[str], error: str = "") -> None:
        with self._changed:
            for name in ids:
                rented = self._rented.get(name)
                if rented is not None and rented.ended_at is None:
                    rented.ended_at, rented.error = self.clock.now(), error

    def break_down(self, *ids: str) -> None:
        """The machines end without having been asked to."""
        self.end(ids, "the machine broke down")
        with self._changed:
            self._vanished.extend(ids)
            self._changed.notify_all()

    def await_vanished(self, seconds: float, closed: threading.Event) -> list[str]:
        with self._changed:
            self._changed.wait_for(lambda: self._vanished or closed.is_set(), seconds)
            gone, self._vanished = self._vanished, []
            return gone

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


_CLOUDS: dict[tuple[str, str, str], Cloud] = {}


def provider(options: Mapping[str, Any], around: Surroundings) -> "SimulatedProvider":
    """A provider on the cloud of this pool, which lives as long as this process.

    Raises Refused when an option is unknown or makes no sense.
    """
    model = checked(SimulatedOptions, options, "simulated")
    key = (around.farm, around.pool, around.home)
    return SimulatedProvider(_CLOUDS.setdefault(key, Cloud(model, WallClock())), around.pool)


class SimulatedProvider:
    """A Provider on a Cloud."""

    def __init__(self, cloud: Cloud, pool: str) -> None:
        self.cloud, self._pool = cloud, pool
        self._closed = threading.Event()

    def offers(self) -> Sequence[Offer]:
        options = self.cloud.options
        return [Offer(OFFER, options.slots, options.price_per_hour)]

    def launch(self, order: Order, /) -> Placed:
        fault = self.cloud.faults.popleft() if self.cloud.faults else None
        if fault is Fault.THROTTLED:
            raise Throttled("the simulated cloud wants fewer calls")
        if fault is Fault.REFUSED:
            raise Refused("the simulated cloud does not know these credentials")
        if fault is Fault.SOLD_OUT:
            raise SoldOut("the simulated cloud has nothing left")
        rented = self.cloud.rent(order.token, order.count, order.slots or self.cloud.options.slots)
        if fault is Fault.LOST_ANSWER:
            raise Lost("the simulated cloud's answer was lost")
        return self._placed(order, [self._machine(r) for r in rented])

    def _placed(self, order: Order, machines: list[Machine]) -> Placed:
        if len(machines) == order.count:
            return Placed(tuple(machines))
        full = SoldOut("the simulated cloud has nothing left")
        if not machines:
            raise full
        return Placed(tuple(machines), (Refusal(OFFER, full),))

    def machines(self) -> Sequence[Machine]:
        return [self._machine(r) for r in self.cloud.listing()]

    def _machine(self, rented: _Rented) -> Machine:
        state = MachineState.RUNNING if self.cloud.clock.now() >= rented.ready_at else MachineState.BOOTING
        return Machine(
            rented.id,
            rented.order,
            self._pool,
            MachineState.ENDED if rented.ended_at else state,
            rented.slots,
            rented.launched_at,
            rented.ended_at,
            rented.error,
        )

    def terminate(self, ids: Collection[str], /) -> None:
        self.cloud.end(ids)

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        return self.cloud.await_vanished(timeout.total_seconds(), self._closed)

    def close(self) -> None:
        self._closed.set()
        self.cloud.wake()
