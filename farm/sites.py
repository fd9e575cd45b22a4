"""The farm's end of `sync`: what gateways report becomes state, what the farm wants becomes numbered messages."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from executors.contract import Event, EventKind, Ready, Work
from executors.packed import Works
from executors.site.protocol import Answer, Message, Report
from farm import bulk
from farm import tables as t
from farm.clock import Clock
from farm.db import Database, after_commit
from farm.dispatch import Dispatcher, rest
from farm.feed import Feed
from farm.fleet import WENT, drain
from farm.fleet import lost as lose_executor
from farm.fleet import ready as executor_ready
from farm.home import SITE
from farm.mirror import Mirror
from farm.model import AttemptState, ExecutorState
from farm.queue import endings, quarantine, settle
from farm.queue.handed import Handed
from farm.queue.progress import Changed
from farm.reference import Reference, parse_reference
from farm.refusal import NotFound
from farm.secret_reader import SecretReader
from farm.site_desk import Desk, Outbox
from farm.site_report import events_of, its_own
from schedules.reserve import Allowed

log = logging.getLogger(__name__)

NEWS_AGAIN = timedelta(seconds=1)
CATCH_UP = timedelta(seconds=1)
HEARD_S = 10.0  # processes of a site that has not been heard of for longer are none that can be told of
IDLE_S = 60.0  # a site of no living executor that is silent for longer is forgotten
GIVEN_UP_S = 2.0  # between TERM and KILL of what still runs on an executor that was given up

_SEEN = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.seen < bindparam("s"))
    .values(seen=bindparam("s"))
)
_LIVING = t.Executor.state.in_([ExecutorState.BOOTING, ExecutorState.READY, ExecutorState.DRAINING])
_KNOWN = select(t.Executor.id, t.Executor.seen, t.Executor.slots, t.Executor.state).where(
    _LIVING, t.Executor.site == bindparam("site")
)
_ELSEWHERE = select(t.Executor.site).where(_LIVING, t.Executor.site != SITE).distinct()
_SITE = select(t.Executor.id).where(t.Executor.site == bindparam("site")).limit(1)
_ACTIVE = select(
    t.Attempt.job, t.Attempt.number, t.Attempt.ordinal, t.Attempt.executor, t.Attempt.token, t.Attempt.state
).where(t.Attempt.finished.is_(None), t.Attempt.state.in_([AttemptState.CLAIMED, AttemptState.STARTED]))
_ACTIVE_AT = _ACTIVE.join(t.Executor, t.Executor.id == t.Attempt.executor).where(t.Executor.site == bindparam("site"))


class Sites:
    """The gateways: the one beside the farm, and one of each executor elsewhere, whose site has its name."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        dispatcher: Dispatcher,
        logs: Path,
        feed: Feed,
        wake: Callable[[], None],
        lease_s: float,
        outbound_lease_s: float = 600,
    ) -> None:
        self._db, self._clock, self._dispatcher = db, clock, dispatcher
        self._feed, self._wake, self._outbound_lease_s = feed, wake, outbound_lease_s
        self._local = Desk(SITE, lease_s)
        self._secrets = SecretReader(self._start_late)
        self._elsewhere: dict[str, Desk] = {}
        self._making = threading.Lock()
        self._closed = self._kicked = False
        self._mirror = Mirror(logs, self._printed, self._active)
        self._on = ThreadPoolExecutor(1, "handing-out")  # what one decision has left
        db.doubted.append(self.settle_anew)

    # ── which sites there are ──

    def recall(self) -> None:
        """After a start: those that live in the database. Each has a whole lease to come back in."""
        with self._db.read() as tx:
            found = tx.execute(_ELSEWHERE).scalars().all()
        self.expect(found)

    def expect(self, sites: Iterable[str]) -> None:
        """From now on messages for these executors are theirs; said before anything is written that could make one."""
        with self._making:
            for name in sites:
                if name != SITE and name not in self._elsewhere:
                    self._elsewhere[name] = Desk(name, self._outbound_lease_s)

    def forget(self, living: Collection[str]) -> None:
        """Let go of the desks of executors that are gone and have not been heard of for a while."""
        for name, desk in list(self._elsewhere.items()):
            if name not in living and desk.silence_s > IDLE_S:
                with self._making:
                    self._elsewhere.pop(name, None)
                desk.close()

    def _desk(self, site: str) -> Desk:
        """Raises NotFound for a site of no executor."""
        if site == SITE:
            return self._local
        if site not in self._elsewhere:
            with self._db.read() as tx:
                known = tx.execute(_SITE, {"site": site}).first()
            if known is None:
                raise NotFound(f"there is no site {site!r}")
            self.expect([site])
        return self._elsewhere[site]

    def cut_off(self) -> Mapping[str, float]:
        """Sites elsewhere that have not been heard of for longer than their lease, and for how many seconds."""
        desks = list(self._elsewhere.values())
        return {desk.name: desk.silence_s for desk in desks if desk.silence_s > desk.lease_s}

    @property
    def processes(self) -> Sequence[Mapping[str, Any]]:
        """What the gateways say of processes; those elsewhere are told with the machine that they are on."""
        heard = [d for d in list(self._elsewhere.values()) if d.silence_s < HEARD_S]
        far = [{**process, "site": d.name} for d in heard for process in d.processes]
        return (*self._local.processes, *far)

    def settle_anew(self, *sites: str) -> None:
        """Ask these gateways, else all, what they have: what was handed out by a change of which nobody knew that it
        counts, nobody was told of."""
        for desk in (self._local, *list(self._elsewhere.values())):
            if not sites or desk.name in sites:
                desk.unsettle()

    # ── what the farm wants ──

    def tell(self, *messages: Message) -> None:
        """Queue messages for the gateways of their executors; one that names none goes to all."""
        if not self._elsewhere:
            return self._local.tell(messages)
        by_desk: dict[str, list[Message]] = {}
        for message in messages:
            for desk in self._addressed(message):
                by_desk.setdefault(desk.name, []).append(message)
        for name, found in by_desk.items():
            desk = self._elsewhere.get(name, self._local)
            desk.tell(found)
        return None

    def _addressed(self, message: Message) -> list[Desk]:
        if message.executor:
            return [self._elsewhere.get(message.executor, self._local)]
        return [self._local, *list(self._elsewhere.values())]

    def allow(self, most: Allowed | None) -> None:
        """What lanes that leave slots to others may have from now on."""
        self._dispatcher.allowed = most

    def dispatch(self, tx: Connection, now: datetime) -> bool:
        """Assign work, and hand it out as soon as that is written."""
        works = self._dispatcher.assign(tx, now)
        if works:
            after_commit(tx, lambda: self._hand_out(works))
            if self._dispatcher.cut:
                after_commit(tx, self._go_on_soon)
        return bool(works)

    def kick_soon(self) -> None:
        """As `kick`, beside who calls; once for all that call meanwhile."""
        if not self._kicked:
            self._kicked = True
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        with suppress(RuntimeError):  # the farm goes down
            self._on.submit(self._go_on)

    def _go_on(self) -> None:
        """Others that waited to write came in between."""
        self._kicked = False
        try:
            self.kick()
        except Exception:  # the database is away, say: the next event goes on
            log.exception("what was left is not handed out yet")

    def _hand_out(self, works: Mapping[str, Handed]) -> None:
        """Those with secrets later, when these are read: that may take long, and writers wait."""
        self.tell(*(Message(0, "start", x, works=w) for x, handed in works.items() for w in handed.packed()))
        self._secrets.hand({x: late for x, handed in works.items() if (late := handed.secret())})

    def _start(self, works: Mapping[str, Sequence[Work]]) -> None:
        self.tell(*(Message(0, "start", x, works=Works.of(handed)) for x, handed in works.items() if handed))

    def _start_late(self, works: Mapping[str, Sequence[Work]]) -> None:
        """Unless they were cancelled or lost meanwhile; no other writer comes between the look and the message."""
        with self._db.write() as tx:
            active = {(f"{r.job}.{r.number}.{r.ordinal}", r.token) for r in tx.execute(_ACTIVE)}
            left = {x: [w for w in handed if (w.attempt, w.token) in active] for x, handed in works.items()}
            after_commit(tx, lambda: self._start(left))

    @property
    def shipped(self) -> Mapping[str, int]:
        """Running attempt → end of what it has written, as far as it is here."""
        return self._mirror.shipped

    def _printed(self, attempt: str) -> None:
        self._feed.logged(parse_reference(attempt).job)

    def _active(self) -> Collection[str]:
        with self._db.read() as tx:
            return {f"{r.job}.{r.number}.{r.ordinal}" for r in tx.execute(_ACTIVE)}

    def close(self) -> None:
        """Wake whoever waits for messages."""
        self._closed = True
        self._secrets.close()
        self._on.shutdown(wait=False, cancel_futures=True)
        for desk in (self._local, *list(self._elsewhere.values())):
            desk.close()

    # ── what a gateway reports ──

    def sync(self, report: Report, site: str = SITE) -> Answer:
        """One call of a gateway. Raises NotFound, Conflict."""
        desk = self._desk(site)
        if desk is not self._local:
            its_own(report, site)
        desk.hear()
        try:
            return self._answer(desk, report)
        finally:
            desk.hear()  # its lease begins when it hears us, which after a long poll is later

    def _answer(self, desk: Desk, report: Report) -> Answer:
        term = self._dispatcher.term
        if report.processes:
            desk.processes = report.processes
        if not desk.current(report, term):
            if report.snapshot is None:
                return Answer(term, settle=True, lease_s=desk.lease_s)
            return self._settle(desk, report)
        desk.take_receipt(report)
        acknowledged = self._take_up(desk, report) if not report.wait_s else {}
        return Answer(term, acknowledged=acknowledged, messages=desk.messages(report.wait_s), lease_s=desk.lease_s)

    def _take_up(self, desk: Desk, report: Report) -> dict[str, int]:
        desk.going_up()
        try:
            return self._take_in(desk, report)
        finally:
            desk.gone_up()

    def _settle(self, desk: Desk, report: Report) -> Answer:
        """A new gateway, or we are new: adopt what runs, end what we do not want, hand out again what never arrived."""
        now = self._clock.now()
        last = desk.outbox.last if report.session == desk.outbox.session else 0
        fresh = Outbox(report.session, settled=True, last=last, offered=last)
        with self._db.write() as tx:
            known = {r.id: r for r in tx.execute(_KNOWN, {"site": desk.name})}
            changed = self._adopt(tx, desk, report, fresh, now)
            for row in known.values():
                fresh.add(Message(0, "attach", row.id, slots=row.slots))
            if desk is not self._local and not known:  # we gave it up while it was away
                fresh.add(Message(0, "stop", desk.name, grace_s=GIVEN_UP_S))
            silent = {r.id for r in known.values() if r.state != ExecutorState.BOOTING}
            after_commit(tx, lambda: desk.install(fresh, silent - {r.executor for r in report.ready}, now))
        self._feed.publish(changed)
        self._arrived(desk, report.ready)
        self.kick()
        seen = {name: row.seen for name, row in known.items()}
        return Answer(self._dispatcher.term, acknowledged=seen, messages=desk.messages(0), lease_s=desk.lease_s)

    def _adopt(self, tx: Connection, desk: Desk, report: Report, fresh: Outbox, now: datetime) -> Changed:
        here = {(r.attempt, r.executor, r.token) for r in report.snapshot or ()}
        joined = {r.executor for r in report.ready}
        missing, wanted = [], set()
        for row in tx.execute(_ACTIVE_AT, {"site": desk.name}):
            name = f"{row.job}.{row.number}.{row.ordinal}"
            if (name, row.executor, row.token) in here:
                wanted.add(name)
            elif row.executor in joined:
                missing.append(Reference(row.job, row.number, row.ordinal))
        strangers = [r for r in report.snapshot or () if r.attempt not in wanted and r.state != "finished"]
        if strangers:
            fresh.add(Message(0, "cancel", attempts=tuple(r.attempt for r in strangers)))
        endings.settled(tx, desk.name, joined, strangers, now)
        return settle.lose_some(tx, missing, "it never arrived at its executor", now).changed

    def _take_in(self, desk: Desk, report: Report) -> dict[str, int]:
        """Executors that joined, events, and then executors that went: their last events still count. Answers the
        numbers up to which events are on our disk."""
        self._arrived(desk, report.ready)
        if report.leaving and desk is not self._local:
            self._leaves(desk.name)
        upto: dict[str, int] = {}
        if report.events:
            for executor, events in report.events.items():
                self._mirror.write(executor, events)
            upto = self._take_events(events_of(report, desk is self._local, self._clock))
        if report.lost:
            gone = [e for e in report.lost if desk is not self._local or e not in self._elsewhere]
            self._left(gone, WENT if report.leaving else "its executor vanished")
        return upto

    def _arrived(self, desk: Desk, ready: Sequence[Ready]) -> None:
        """Every report names them all: those that it named a moment ago are no news."""
        now = self._clock.now()
        if not ready or (ready == desk.named[0] and abs(now - desk.named[1]) < NEWS_AGAIN):
            return
        if desk.silent & {r.executor for r in ready}:
            desk.unsettle()  # one of them is back: ask for a snapshot that tells of it
        with self._db.write() as tx:
            moved = executor_ready(tx, [r.executor for r in ready], now)
            if moved:
                self.dispatch(tx, now)
        desk.named = (ready, now)
        if moved:
            self._wake()

    def _leaves(self, executor: str) -> None:
        """What it hands back next must not be given to it again."""
        with self._db.write() as tx:
            moved = drain(tx, executor, WENT, self._clock.now())
        if moved:
            self._wake()

    def _left(self, executors: Sequence[str], why: str) -> None:
        now, changed, moved = self._clock.now(), Changed(), False
        with self._db.write() as tx:
            for executor in executors:
                gone = lose_executor(tx, executor, why, now)
                moved = moved or gone is not None
                changed.join(gone.changed if gone else Changed())
            if moved:
                self.dispatch(tx, now)
        if moved:
            self._feed.publish(changed)
            self._wake()

    def caught_up(self, site: str = SITE) -> bool:
        """Whether its gateway has settled with us, and had time to bring what happened while we were away."""
        desk = self._elsewhere.get(site, self._local)
        return desk.settled is not None and abs(self._clock.now() - desk.settled) >= CATCH_UP

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
                bulk.tuples(tx, _SEEN, ("e", "s"), list(upto.items()))
            self._dispatcher.learn(settled)
            if settled.freed or settled.returned:
                self.dispatch(tx, now)
            idle = rest(tx, now)
            after_commit(tx, lambda: self._feed.accepted(settled.accepted))
        settled.changed.jobs |= jobs
        for _, event in fresh:
            if event.kind == EventKind.FINISHED:
                self._mirror.forget(event.attempt)
        self._feed.publish(settled.changed)
        if idle or bad.executors:
            self._wake()
        return upto

    def kick(self) -> None:
        """Something became ready outside of a report: hand it out."""
        now = self._clock.now()
        with self._db.write() as tx:
            self.dispatch(tx, now)


def _fresh(tx: Connection, events: Mapping[str, Sequence[Event]]) -> list[tuple[str, Event]]:
    """Events beyond what we have seen of each executor."""
    seen = {r.id: r.seen for r in tx.execute(_SEEN_OF, {"ids": list(events)})}
    return [(x, e) for x, list_ in events.items() for e in list_ if e.seq > seen.get(x, 0)]


_SEEN_OF = select(t.Executor.id, t.Executor.seen).where(t.Executor.id.in_(bindparam("ids", expanding=True)))
