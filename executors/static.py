"""Owned machines that come by themselves: servers, and workstations at night.

A light program stands by on each (executors/site/standby.py) and asks again and again whether there is work, by a long
poll. An order lends as many free ones as it wants; one that is let go stands by again. Only loans are kept on disk: who
stands by says so anew within moments of a restart.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from executors.contract import NOBODY, Answer, Heard, Machine, Offer, Order, Placed, Refusal, Standby, Surroundings
from executors.errors import Refused, SoldOut
from executors.options import Options, checked
from executors.static_books import Loan, StaticBooks

NETWORK = "outbound"
JOINS = True
OFFER = "owned"
HEARD_S = 45.0  # one that has not asked for so long does not stand by
FAREWELL_S = 15.0  # for the executor of one that is let go to tell the farm how all of it ended
LIVES_S = 60.0  # an executor that its machine says nothing of may have been cut off for so long beyond its lease


class StaticOptions(Options):
    """`slots` of one executor; `ceiling` is slots in all."""

    price_per_hour: Decimal = Decimal(0)
    slots: int = 1
    ceiling: int | None = None


def provider(options: Mapping[str, Any], around: Surroundings) -> "StaticProvider":
    """Raises Refused when an option is unknown or makes no sense."""
    return StaticProvider(checked(StaticOptions, options, "static"), around)


class StaticProvider:
    """`heed` and `answer` are what the machines call, through the farm; each call has a thread of its own."""

    def __init__(
        self, options: StaticOptions, around: Surroundings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options, self._around, self._clock = options, around, clock
        self._books = StaticBooks(Path(around.home))
        self._here: dict[str, tuple[Standby, float]] = {}  # by machine: what it said last, and when
        self._changed = threading.Condition(threading.RLock())
        self._began = clock()
        self._closed = False
        self._noticed = {loan.id for loan in self._books.all() if loan.ended_at}

    def offers(self) -> Sequence[Offer]:
        return [Offer(OFFER, self._options.slots, self._options.price_per_hour)]

    # ── what the farm wants ──────────────────────────────────────────────────────────────────────

    def launch(self, order: Order, /) -> Placed:
        with self._told():
            found = [self._lend(order, f"{order.token}-{n}") for n in range(1, order.count + 1)]
            machines = tuple(loan.listed(order.pool) for loan in found if loan)
            if len(machines) == order.count:
                return Placed(machines)
            none = SoldOut(self._why_none(order.least or order.slots or self._options.slots))
        if not machines:
            raise none
        return Placed(machines, (Refusal(OFFER, none),))

    def _lend(self, order: Order, name: str) -> Loan | None:
        """The loan of this name: the one there was, or of a machine that is free."""
        if known := self._books.find(name):
            return known
        slots = order.slots or self._options.slots
        free = self._free(slots, order.least or slots)
        if free is None:
            return None
        given = min(slots, self._here[free][0].slots)
        lent = sum(loan.slots for loan in self._books.all() if not loan.ended_at)
        if lent + given > (self._options.ceiling or lent + given):
            return None
        return self._books.write(Loan(name, order.token, free, given, time.time_ns()))

    def _free(self, slots: int, least: int) -> str | None:
        """One that has as many slots as are wanted, else the one that comes nearest."""
        able = [m for m in sorted(self._here) if self._can(m, least)]
        return max(able, key=lambda machine: min(slots, self._here[machine][0].slots), default=None)

    def _can(self, machine: str, slots: int) -> bool:
        said, _at = self._here[machine]
        idle = not said.running and self._books.of(machine) is None
        return self._hears(machine) and said.free and idle and said.slots >= slots

    def _hears(self, machine: str) -> bool:
        _said, at = self._here.get(machine, (None, -HEARD_S))
        return self._clock() - at < HEARD_S

    def _why_none(self, slots: int) -> str:
        here = [said for machine, (said, _at) in sorted(self._here.items()) if self._hears(machine)]
        if not here:
            return f"{NOBODY}: none stands by; docs/machines.md says how one joins"
        told = "; ".join(f"{said.machine}: {self._about(said, slots)}" for said in here[:5])
        return f"{NOBODY}: {told}"

    def _about(self, said: Standby, slots: int) -> str:
        if self._books.of(said.machine) or said.running:
            return "works already"
        return (said.why or "not free") if not said.free else f"has {said.slots} of {slots} slots, or the pool is full"

    def terminate(self, ids: Collection[str], /) -> None:
        with self._told():
            asked = [self._ask(name) for name in ids]
        until = self._clock() + FAREWELL_S
        for loan in filter(None, asked):
            self._let_go(loan, until)

    def _ask(self, name: str) -> Loan | None:
        loan = self._books.find(name)
        if loan is None or loan.ended_at:
            return None
        return self._books.write(replace(loan, asked=True))

    def _let_go(self, loan: Loan, until: float) -> None:
        """Wait for the machine to have ended it; who is not heard of is told as soon as he is."""
        with self._told():
            while (now := self._books.find(loan.id)) and not now.ended_at:
                left = until - self._clock()
                if left <= 0 or self._closed or not self._hears(loan.machine):
                    self._books.end(now)
                else:
                    self._changed.wait(left)

    # ── what the farm looks at ───────────────────────────────────────────────────────────────────

    def machines(self) -> Sequence[Machine]:
        with self._told():
            self._give_up()
            return [loan.listed(self._around.pool) for loan in self._books.all()]

    def _give_up(self) -> None:
        """Those that nobody has heard of for longer than an executor lives without its farm."""
        patience = self._around.lease.total_seconds() + LIVES_S
        for loan in self._books.all():
            _said, at = self._here.get(loan.machine, (None, self._began))
            if not loan.ended_at and self._clock() - at > patience:
                self._books.end(loan, f"{loan.machine} was not heard of for {patience:.0f} s")

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        until = self._clock() + timeout.total_seconds()
        with self._told():
            while not self._closed:
                self._give_up()
                ended = {loan.id for loan in self._books.all() if loan.ended_at}
                gone = [i for i in sorted(ended - self._noticed) if not self._asked(i)]
                self._noticed = ended
                left = until - self._clock()
                if gone or left <= 0:
                    return gone
                self._changed.wait(min(left, HEARD_S))
        return []

    def _asked(self, name: str) -> bool:
        loan = self._books.find(name)
        return loan is None or loan.asked

    def close(self) -> None:
        with self._told():
            self._closed = True

    # ── what the machines say ────────────────────────────────────────────────────────────────────

    def heed(self, said: Standby, /) -> Heard:
        with self._told():
            freed = said.free and not said.running and not self._was_free(said.machine)
            self._here[said.machine] = (said, self._clock())
            self._settle(said)
            loan = self._books.of(said.machine)
            if loan is None or said.free or loan.id != said.running:
                return Heard(freed)
            return Heard(freed, loan.id, said.why)

    def _was_free(self, machine: str) -> bool:
        said, _at = self._here.get(machine, (None, 0.0))
        return said is not None and self._hears(machine) and said.free and not said.running

    def answer(self, said: Standby, wait: timedelta, /) -> Answer:
        until = self._clock() + wait.total_seconds()
        with self._changed:
            while True:
                answer = self._answer(said)
                left = until - self._clock()
                if answer != Answer() or left <= 0 or self._closed:
                    return answer
                self._changed.wait(left)

    def _settle(self, said: Standby) -> None:
        """Bring the books to what the machine says."""
        loan = self._books.of(said.machine)
        if loan is None:
            return
        if said.running == loan.id and not loan.ran:
            self._books.write(replace(loan, ran=True))
        elif said.ended == loan.id:
            self._books.end(loan, said.error)
        elif said.running != loan.id and (loan.ran or loan.asked):
            self._books.end(loan, f"{said.machine} knows nothing of it: was it started anew?")
        elif not said.free and not said.running and not loan.ran:  # it was lent a moment before somebody came
            self._books.end(loan, said.why)

    def _answer(self, said: Standby) -> Answer:
        loan = self._books.of(said.machine)
        if said.running and (loan is None or loan.asked or loan.id != said.running):
            return Answer(end=said.running)
        if loan is None or said.running or self._here[said.machine][0] is not said:
            return Answer()
        if loan.asked:  # it never came to it
            self._books.end(loan)
            self._changed.notify_all()
            return Answer()
        if self._around.invite is None:
            raise Refused("this farm has no address for executors elsewhere")
        return Answer(invitation=self._around.invite(loan.id, loan.slots).text())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The lock; whoever waits looks again afterwards."""
        with self._changed:
            try:
                yield
            finally:
                self._changed.notify_all()
