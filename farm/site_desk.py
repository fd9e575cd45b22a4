"""What the farm keeps of one site while it runs: numbered messages for its gateway, and what it last said."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from executors.contract import Ready
from executors.site.protocol import Message, Report
from farm.clock import EPOCH

BATCH = 200  # messages in one answer


@dataclass(slots=True)
class Outbox:
    """Numbered messages to one session of a gateway, kept until it says that it has them."""

    session: str = ""
    settled: bool = False
    last: int = 0
    offered: int = 0  # up to here an answer is on its way already
    waiting: list[Message] = field(default_factory=list)

    def add(self, message: Message) -> None:
        self.last += 1
        self.waiting.append(replace(message, n=self.last))

    def forget(self, received: int) -> None:
        self.waiting = [m for m in self.waiting if m.n > received]


class Desk:
    """One site: its conversation, who is ready there, when it was heard of. Nothing here is in the database."""

    def __init__(self, name: str, lease_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name, self.lease_s = name, lease_s
        self.outbox = Outbox()
        self.silent: set[str] = set()  # living executors that the last snapshot did not tell of
        self.processes: Sequence[Mapping[str, Any]] = ()
        self.settled: datetime | None = None
        self.named: tuple[Sequence[Ready], datetime] = ((), EPOCH)  # who was ready last, and when
        self._monotonic = monotonic
        self._heard = monotonic()  # a desk that is new gives its site a whole lease
        self._changed = threading.Condition()
        self._ups = 0  # calls that bring events and take messages back with them
        self._closed = False

    def hear(self) -> None:
        self._heard = self._monotonic()

    @property
    def silence_s(self) -> float:
        """For how long nothing has been heard of it; the wall clock may jump meanwhile."""
        return self._monotonic() - self._heard

    def tell(self, messages: Sequence[Message]) -> None:
        """Queue messages for the gateway; they are dropped when none is settled: settling makes them anew."""
        with self._changed:
            if self.outbox.settled:
                for message in messages:
                    self.outbox.add(message)
            self._changed.notify_all()

    def close(self) -> None:
        """Wake whoever waits for messages."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def current(self, report: Report, term: int) -> bool:
        return self.outbox.settled and report.term == term and report.session == self.outbox.session

    def take_receipt(self, report: Report) -> None:
        with self._changed:
            self.outbox.forget(report.received)
            if not report.wait_s:
                self.outbox.offered = report.received  # what an earlier answer offered and did not bring

    def going_up(self) -> None:
        """The answer to this call brings the messages it gives rise to: nobody else need wake for them."""
        with self._changed:
            self._ups += 1

    def gone_up(self) -> None:
        with self._changed:
            self._ups -= 1
            self._offer()
            self._changed.notify_all()

    def messages(self, wait_s: float) -> tuple[Message, ...]:
        with self._changed:
            self._changed.wait_for(self._has_news, wait_s)
            return self._offer()

    def _offer(self) -> tuple[Message, ...]:
        """What the next answer brings; no other call wakes for it."""
        found = tuple(self.outbox.waiting[:BATCH])
        if found:
            self.outbox.offered = max(self.outbox.offered, found[-1].n)
        return found

    def _has_news(self) -> bool:
        """Something that no other call is about to bring."""
        return self._closed or (self.outbox.last > self.outbox.offered and not self._ups)

    def install(self, fresh: Outbox, silent: set[str], now: datetime) -> None:
        """From now on these messages count. Executors that were `silent` are settled again when they answer."""
        with self._changed:
            self.outbox, self.silent, self.settled = fresh, silent, now
            self.named = ((), EPOCH)
            self._changed.notify_all()

    def unsettle(self) -> None:
        """Ask for a snapshot at the next call."""
        with self._changed:
            self.outbox.settled = False
