"""A Provider on EC2: one call per machine, each with its own client token, spilling from type to type."""

import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from executors.bootstrap import TooLong, user_data
from executors.contract import Machine, Offer, Order, Placed, Refusal, Surroundings
from executors.ec2.books import UNSEEN, Books, Rented, now
from executors.ec2.cloud import AT_ONCE, Cloud
from executors.ec2.purchase import Purchase
from executors.ec2.remedies import Unknown
from executors.ec2.settings import Ec2Options
from executors.errors import ProviderError, Refused, SoldOut, Throttled

LOOK_S = 6.0  # who watches looks by himself when nobody else has listed for so long


class Ec2Provider:
    """Its books are files: made anew over the same folder, it knows the same machines."""

    def __init__(self, options: Ec2Options, around: Surroundings, cloud: Cloud, look_s: float = LOOK_S) -> None:
        self._options, self._around, self._cloud, self._look_s = options, around, cloud, look_s
        self._books = Books(Path(around.home) / "ec2")
        self._noticed = {r.id for r in self._books.all() if r.ended_at}
        self._looked = time.monotonic() - look_s
        self._changed = threading.Condition()
        self._closed = False

    def offers(self) -> Sequence[Offer]:
        return [self._options.offer(kind) for kind in self._options.instance_types]

    # ── launching ──

    def launch(self, order: Order, /) -> Placed:
        names = [f"{order.token}-{n}" for n in range(1, order.count + 1)]
        slots = order.slots or self._options.slots
        if any(self._unanswered(name) for name in names):
            self._look()  # before more is bought, what may have been
        known = [name for name in names if self._bought(name)]
        fresh = [name for name in names if name not in known]
        room = fresh[: self._room(slots, fresh)]
        purchase = Purchase(self._options, self._cloud, self._books, order.token, slots)
        if room:
            words = {name: self._user_data(name, slots) for name in room}
            with ThreadPoolExecutor(min(AT_ONCE, len(room))) as hands:
                list(hands.map(lambda name: purchase.buy(name, words[name]), room))
        refused = purchase.refused() if len(room) == len(fresh) else (*purchase.refused(), self._full())
        machines = [r.machine(self._around.pool) for name in names if (r := self._bought(name))]
        if not machines:
            raise _worst(refused)
        return Placed(tuple(machines), refused if len(machines) < order.count else ())

    def _unanswered(self, name: str) -> bool:
        rented = self._books.find(name)
        return rented is not None and not rented.instance

    def _bought(self, name: str) -> Rented | None:
        rented = self._books.find(name)
        return rented if rented is not None and rented.instance else None

    def _room(self, slots: int, fresh: Sequence[str]) -> int:
        """How many machines the ceiling allows; those whose answer is still to come have their place already."""
        ceiling = self._options.ceiling
        if ceiling is None:
            return len(fresh)
        taken = sum(r.slots for r in self._books.living() if r.id not in fresh)
        return max(0, (ceiling - taken) // slots)

    def _full(self) -> Refusal:
        text = f"the pool's ceiling of {self._options.ceiling} slots is reached"
        return Refusal(self.offers()[0].key, SoldOut(text))

    def _user_data(self, name: str, slots: int) -> str:
        if self._around.invite is None:
            raise Refused("machines elsewhere can't reach this farm: `farm up --listen HOST:PORT`, and [listen] url")
        try:
            return user_data(self._around.invite(name, slots))
        except TooLong as error:
            raise Refused(str(error)) from error

    # ── looking ──

    def machines(self) -> Sequence[Machine]:
        self._look()
        return [r.machine(self._around.pool) for r in self._books.all()]

    def _look(self) -> None:
        """Take over what EC2 lists. Raises ProviderErrors."""
        stray = self._books.believe(self._cloud.find())
        if stray:
            self._cloud.end(stray)
        with self._changed:
            self._looked = time.monotonic()
            self._changed.notify_all()

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        """EC2 tells nobody: who watches reads the listings that are made anyway, and looks where there are none."""
        until = time.monotonic() + timeout.total_seconds()
        while not self._closed:
            gone = self._gone()
            left = until - time.monotonic()
            if gone or left <= 0:
                return gone
            self._await_a_listing(left)
        return []

    def _await_a_listing(self, seconds: float) -> None:
        with self._changed:
            before = self._looked
            due = max(0.0, before + self._look_s - time.monotonic())
            self._changed.wait_for(lambda: self._closed or self._looked != before, min(seconds, due))
            if self._closed or self._looked != before or seconds < due:
                return
        try:
            self._look()
        except ProviderError:  # the farm's own listing tells it
            with self._changed:
                self._looked = time.monotonic()

    def _gone(self) -> list[str]:
        with self._changed:
            listed = self._books.all()
            fresh = [r.id for r in listed if r.ended_at and r.id not in self._noticed and not r.asked]
            self._noticed = {r.id for r in listed if r.ended_at}
            return sorted(fresh)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # ── ending ──

    def terminate(self, ids: Collection[str], /) -> None:
        if any(self._bought(name) is None for name in ids):
            self._look()
        living = self._books.asked(ids)
        if not living:
            return
        try:
            self._cloud.end([r.instance for r in living])
        except Unknown:  # then none of them was ended
            for rented in living:
                self._end_one(rented)
            return
        for rented in living:
            self._books.ended(rented.id)

    def _end_one(self, rented: Rented) -> None:
        try:
            self._cloud.end([rented.instance])
        except Unknown as error:
            if now() - rented.launched_at < UNSEEN:
                raise Throttled(f"{error}, and it was bought a moment ago: it will be known soon") from error
        self._books.ended(rented.id)


def _worst(refused: Sequence[Refusal]) -> ProviderError:
    """One error that stands for all: the last one, unless there are only shortages, which are told together."""
    others = [r.error for r in refused if not isinstance(r.error, SoldOut)]
    return others[-1] if others else SoldOut("; ".join(dict.fromkeys(str(r.error) for r in refused)))
