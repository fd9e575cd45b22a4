"""The farm's end of `sync`: what gateways report becomes state, what the farm wants becomes numbered messages."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from executors.contract import Event, EventKind, Ready, Running, Work
from executors.packed import Works
from executors.site.protocol import Answer, Message, Report
from farm import secret
from farm import tables as t
from farm.clock import EPOCH, Clock
from farm.db import Database, after_commit
from farm.dispatch import Dispatcher, rest
from farm.feed import Feed
from farm.fleet import lost as lose_executor
from farm.fleet import ready as executor_ready
from farm.model import AttemptState, ExecutorState
from farm.queue import quarantine, settle
from farm.queue.progress import Changed
from farm.reference import Reference, parse_reference

BATCH = 200  # messages in one answer
NEWS_AGAIN = timedelta(seconds=1)
CATCH_UP = timedelta(seconds=1)
SHIPPED = 10_000  # attempts whose logs are followed, before it is asked which of them still run

_SEEN = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.seen < bindparam("s"))
    .values(seen=bindparam("s"))
)
_KNOWN = select(t.Executor.id, t.Executor.seen, t.Executor.slots, t.Executor.state).where(
    t.Executor.state.in_([ExecutorState.BOOTING, ExecutorState.READY, ExecutorState.DRAINING])
)
_ACTIVE = select(
    t.Attempt.job, t.Attempt.number, t.Attempt.ordinal, t.Attempt.executor, t.Attempt.token, t.Attempt.state
).where(t.Attempt.finished.is_(None), t.Attempt.state.in_([AttemptState.CLAIMED, AttemptState.STARTED]))


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


class Sites:
    """One gateway now; the place where several will be told apart."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        dispatcher: Dispatcher,
        logs: Path,
        feed: Feed,
        wake: Callable[[], None],
        lease_s: float,
    ) -> None:
        self._db, self._clock, self._dispatcher = db, clock, dispatcher
        self._logs, self._feed, self._wake, self._lease_s = logs, feed, wake, lease_s
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._silent: set[str] = set()  # living executors that the last snapshot did not tell of
        self._ups = 0  # calls that bring events and take messages back with them
        self._closed = False
        self._most = SHIPPED
        self.shipped: dict[str, int] = {}  # running attempt → end of what it has written, as far as it is here
        self.processes: Sequence[Mapping[str, Any]] = ()
        self.heard: datetime | None = None
        self._settled: datetime | None = None
        self._named: tuple[Sequence[Ready], datetime] = (
            (),
            EPOCH,
        )  # who was ready last, and when

    # ── what the farm wants ──

    def tell(self, *messages: Message) -> None:
        """Queue messages for the gateway; they are dropped when none is settled: settling makes them anew."""
        with self._changed:
            if self._outbox.settled:
                for message in messages:
                    self._outbox.add(message)
            self._changed.notify_all()

    def dispatch(self, tx: Connection, now: datetime) -> bool:
        """Assign work, and hand it out as soon as that is written."""
        works = self._dispatcher.assign(tx, now)
        if works:
            after_commit(tx, lambda: self._hand_out(works))
        return bool(works)

    def _hand_out(self, works: Mapping[str, Sequence[Work]]) -> None:
        held = {executor: [secret.filled(work) for work in handed] for executor, handed in works.items()}
        self.tell(*(Message(0, "start", executor, works=Works.of(w)) for executor, w in held.items()))

    def close(self) -> None:
        """Wake whoever waits for messages."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # ── what a gateway reports ──

    def sync(self, report: Report) -> Answer:
        """One call of a gateway."""
        term = self._dispatcher.term
        self.heard = self._clock.now()
        if report.processes:
            self.processes = report.processes
        if not self._current(report):
            if report.snapshot is None:
                return Answer(term, settle=True, lease_s=self._lease_s)
            return self._settle(report)
        with self._changed:
            self._outbox.forget(report.received)
            if not report.wait_s:
                self._outbox.offered = report.received  # what an earlier answer offered and did not bring
        acknowledged = self._take_up(report) if not report.wait_s else {}
        return Answer(term, acknowledged=acknowledged, messages=self._messages(report.wait_s), lease_s=self._lease_s)

    def _take_up(self, report: Report) -> dict[str, int]:
        """The answer to this call brings the messages it gives rise to: nobody else need wake for them."""
        with self._changed:
            self._ups += 1
        try:
            return self._take_in(report)
        finally:
            with self._changed:
                self._ups -= 1
                self._offer()
                self._changed.notify_all()

    def _current(self, report: Report) -> bool:
        settled = self._outbox.settled and report.term == self._dispatcher.term
        return settled and report.session == self._outbox.session

    def _messages(self, wait_s: float) -> tuple[Message, ...]:
        with self._changed:
            self._changed.wait_for(self._has_news, wait_s)
            return self._offer()

    def _offer(self) -> tuple[Message, ...]:
        """What the next answer brings; no other call wakes for it."""
        found = tuple(self._outbox.waiting[:BATCH])
        if found:
            self._outbox.offered = max(self._outbox.offered, found[-1].n)
        return found

    def _has_news(self) -> bool:
        """Something that no other call is about to bring."""
        return self._closed or (self._outbox.last > self._outbox.offered and not self._ups)

    def _settle(self, report: Report) -> Answer:
        """A new gateway, or we are new: adopt what runs, end what we do not want, hand out again what never arrived."""
        now = self._clock.now()
        last = self._outbox.last if report.session == self._outbox.session else 0
        fresh = Outbox(report.session, settled=True, last=last, offered=last)
        with self._db.write() as tx:
            known = {r.id: r for r in tx.execute(_KNOWN)}
            changed = self._adopt(tx, report, fresh, now)
            for row in known.values():
                fresh.add(Message(0, "attach", row.id, slots=row.slots))
            silent = {r.id for r in known.values() if r.state != ExecutorState.BOOTING}
            after_commit(tx, lambda: self._install(fresh, silent - {r.executor for r in report.ready}))
        self._feed.publish(changed)
        self._arrived(report.ready)
        self.kick()
        seen = {name: row.seen for name, row in known.items()}
        return Answer(self._dispatcher.term, acknowledged=seen, messages=self._messages(0), lease_s=self._lease_s)

    def _install(self, fresh: Outbox, silent: set[str]) -> None:
        """From now on these messages count. Executors that were `silent` are settled again when they answer."""
        with self._changed:
            self._outbox, self._silent, self._settled = fresh, silent, self._clock.now()
            self._named = ((), EPOCH)
            self._changed.notify_all()

    def _adopt(self, tx: Connection, report: Report, fresh: Outbox, now: datetime) -> Changed:
        here = {(r.attempt, r.executor, r.token) for r in report.snapshot or ()}
        joined = {r.executor for r in report.ready}
        missing, wanted = [], set()
        for row in tx.execute(_ACTIVE):
            name = f"{row.job}.{row.number}.{row.ordinal}"
            if (name, row.executor, row.token) in here:
                wanted.add(name)
            elif row.executor in joined:
                missing.append(Reference(row.job, row.number, row.ordinal))
        self._end_strangers(report.snapshot or (), wanted, fresh)
        return settle.lose_some(tx, missing, "it never arrived at its executor", now).changed

    def _end_strangers(self, snapshot: Sequence[Running], wanted: set[str], fresh: Outbox) -> None:
        strangers = tuple(r.attempt for r in snapshot if r.attempt not in wanted and r.state != "finished")
        if strangers:
            fresh.add(Message(0, "cancel", attempts=strangers))

    def _take_in(self, report: Report) -> dict[str, int]:
        """Executors that joined, events, and then executors that went: their last events still count. Answers the
        numbers up to which events are on our disk."""
        self._arrived(report.ready)
        upto: dict[str, int] = {}
        if report.events:
            for executor, events in report.events.items():
                self._write_logs(executor, events)
            upto = self._take_events(report.events)
        if report.lost:
            self._left(report.lost)
        return upto

    def _arrived(self, ready: Sequence[Ready]) -> None:
        """Every report names them all: those that it named a moment ago are no news."""
        now = self._clock.now()
        if not ready or (ready == self._named[0] and abs(now - self._named[1]) < NEWS_AGAIN):
            return
        if self._silent & {r.executor for r in ready}:
            with self._changed:
                self._outbox.settled = False  # one of them is back: ask for a snapshot that tells of it
        with self._db.write() as tx:
            moved = executor_ready(tx, [r.executor for r in ready], now)
            if moved:
                self.dispatch(tx, now)
        self._named = (ready, now)
        if moved:
            self._wake()

    def _left(self, executors: Sequence[str]) -> None:
        now, changed, moved = self._clock.now(), Changed(), False
        with self._db.write() as tx:
            for executor in executors:
                gone = lose_executor(tx, executor, "its executor vanished", now)
                moved = moved or gone is not None
                changed.join(gone.changed if gone else Changed())
            if moved:
                self.dispatch(tx, now)
        if moved:
            self._feed.publish(changed)
            self._wake()

    def caught_up(self) -> bool:
        """Whether a gateway has settled with us, and had time to bring what happened while we were away."""
        return self._settled is not None and abs(self._clock.now() - self._settled) >= CATCH_UP

    def _take_events(self, events: Mapping[str, Sequence[Event]]) -> dict[str, int]:
        now = self._clock.now()
        with self._db.write() as tx:
            fresh = _fresh(tx, events)
            jobs = settle.started(tx, (e for _, e in fresh if e.kind == EventKind.STARTED))
            ends = [(x, e) for x, e in fresh if e.kind == EventKind.FINISHED]
            settled = settle.finished(tx, ends, now, self._dispatcher.most_memory)
            bad = quarantine.look(tx, settled.outcomes, now)
            settled.changed.join(bad.changed)
            if bad.attempts:
                after_commit(tx, lambda: self.tell(Message(0, "cancel", attempts=tuple(bad.attempts))))
            upto = {executor: list_[-1].seq for executor, list_ in events.items() if list_}
            if upto:
                tx.execute(_SEEN, [{"e": executor, "s": seq} for executor, seq in upto.items()])
            self._dispatcher.learn(settled)
            if settled.freed:
                self.dispatch(tx, now)
            idle = rest(tx, now)
            after_commit(tx, lambda: self._feed.accepted(settled.accepted))
        settled.changed.jobs |= jobs
        for _, event in fresh:
            if event.kind == EventKind.FINISHED:
                self.shipped.pop(event.attempt, None)
        self._feed.publish(settled.changed)
        if idle or bad.executors:
            self._wake()
        return upto

    def kick(self) -> None:
        """Something became ready outside of a report: hand it out."""
        now = self._clock.now()
        with self._db.write() as tx:
            self.dispatch(tx, now)

    def _write_logs(self, executor: str, events: Iterable[Event]) -> None:
        """Mirror the spools, range by range; repeating a range is harmless."""
        for event in events:
            if event.kind != EventKind.LOG:
                continue
            path = spool_path(self._logs, executor, event.spool)
            path.parent.mkdir(exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(descriptor, event.data, event.lo)
            finally:
                os.close(descriptor)
            if event.attempt:
                self.shipped[event.attempt] = event.hi
                if len(self.shipped) > self._most:
                    self._forget_ended()
                self._feed.logged(parse_reference(event.attempt).job)

    def _forget_ended(self) -> None:
        """Attempts that were lost never say that they ended."""
        with self._db.read() as tx:
            active = {f"{r.job}.{r.number}.{r.ordinal}" for r in tx.execute(_ACTIVE)}
        self.shipped = {attempt: end for attempt, end in self.shipped.items() if attempt in active}
        self._most = max(SHIPPED, 2 * len(self.shipped))


def spool_path(logs: Path, executor: str, spool: str) -> Path:
    """Raises ValueError for a name that would leave the folder."""
    for part in (executor, spool):
        if not part or "/" in part or part in (".", "..") or "\0" in part:
            raise ValueError(f"{part!r} is no name of a spool")
    return logs / executor / spool


def _fresh(tx: Connection, events: Mapping[str, Sequence[Event]]) -> list[tuple[str, Event]]:
    """Events beyond what we have seen of each executor."""
    seen = {r.id: r.seen for r in tx.execute(_SEEN_OF, {"ids": list(events)})}
    return [(x, e) for x, list_ in events.items() for e in list_ if e.seq > seen.get(x, 0)]


_SEEN_OF = select(t.Executor.id, t.Executor.seen).where(t.Executor.id.in_(bindparam("ids", expanding=True)))
