"""The farm's end of the conversation with executors elsewhere, as a Site: what the contract suite asks of it travels by
`sync` to real gateways on real machines."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from executors.contract import Cursor, Event, EventKind, Ready, Running, Work
from executors.errors import Lost
from executors.site.protocol import Answer, Message, Report

SETTLES_S = 60.0  # for gateways to send the snapshots that they were asked for
HOLD_S = 1.0  # an answer to who brings nothing new, while nothing runs there
KEPT = 64  # events that stay unacknowledged, as long as they are small
KEPT_BYTES = 1 << 16


@dataclass(slots=True)
class Peer:
    """One executor elsewhere, which is a site of its own. `last` is the number of its last event here."""

    name: str
    slots: int = 0  # as attached; 0 is not yet
    session: str = ""
    settled: bool = False
    said: int = 0  # number of the last message
    outbox: list[Message] = field(default_factory=list)
    ready: Ready | None = None
    joined: bool = False
    gone: bool = False
    told_lost: bool = False
    leaving: bool = False
    running: tuple[Running, ...] = ()
    open: set[str] = field(default_factory=set)  # attempts that were started and have not finished
    events: list[Event] = field(default_factory=list)
    last: int = 0
    acknowledged: int = 0
    term: int = 1  # the highest of its works: it refuses lower ones

    def serves(self) -> bool:
        return self.ready is not None and not (self.leaving or self.gone)


class FarEnd:
    """A Site (see executors.contract), and what the API calls in the place of `farm.sites.Sites`.

    Events are acknowledged when the suite does so, and earlier only where many have come together: executors forget
    what is acknowledged. `ended` tells which machines have ended in their provider's books. What of `before` is on the
    farm's disk is taken over, as after a restart of the service.
    """

    def __init__(self, term: int, ended: Callable[[], Collection[str]], before: "FarEnd | None" = None) -> None:
        self._term, self._ended = term, ended
        self._changed = threading.Condition()
        self._closed = False
        self._lease_s = 300.0
        self._peers: dict[str, Peer] = {}
        for old in before._peers.values() if before else ():
            kept = Peer(old.name, old.slots, events=list(old.events), last=old.last, acknowledged=old.acknowledged)
            kept.term = old.term
            self._peers[old.name] = kept

    # ── what the API calls ──

    def sync(self, report: Report, site: str) -> Answer:
        with self._changed:
            peer = self._peers.setdefault(site, Peer(site))
            try:
                return self._answer(peer, report)
            finally:
                self._changed.notify_all()

    def _answer(self, peer: Peer, report: Report) -> Answer:
        if not self._current(peer, report):
            if report.snapshot is None:
                return Answer(self._term, settle=True, lease_s=self._lease_s)
            self._settle(peer, report)
            return self._said(peer)
        peer.outbox = [message for message in peer.outbox if message.n > report.received]
        if report.wait_s:
            self._changed.wait_for(lambda: self._ends_a_wait(peer, report) or bool(peer.outbox), report.wait_s)
        elif not self._take(peer, report) and not peer.open:
            known = peer.acknowledged
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._ends_a_wait(peer, report) or bool(peer.open) or peer.acknowledged > known, HOLD_S
            )
        return self._said(peer) if self._current(peer, report) else Answer(self._term, settle=True)

    def _current(self, peer: Peer, report: Report) -> bool:
        return (report.term, report.session) == (self._term, peer.session) and peer.settled

    def _ends_a_wait(self, peer: Peer, report: Report) -> bool:
        return self._closed or not self._current(peer, report)

    def _said(self, peer: Peer) -> Answer:
        acknowledged = {peer.name: peer.acknowledged} if peer.acknowledged else {}
        messages = tuple(peer.outbox)
        return Answer(self._term, acknowledged=acknowledged, messages=messages, lease_s=self._lease_s)

    def _settle(self, peer: Peer, report: Report) -> None:
        """A new gateway, or we are new, or its snapshot was asked for."""
        if report.session != peer.session:
            slots = peer.slots or next((r.slots for r in report.ready), 1)
            pending = [Message(0, "attach", peer.name, slots=slots), *(m for m in peer.outbox if m.kind != "attach")]
            peer.outbox = [replace(message, n=report.received + n) for n, message in enumerate(pending, 1)]
            peer.said = report.received + len(pending)
        peer.session, peer.settled, peer.running = report.session, True, report.snapshot or ()
        self._arrived(peer, report)

    def _take(self, peer: Peer, report: Report) -> bool:
        """Whether there is anything new in it."""
        before = (peer.last, peer.ready, peer.gone)
        self._arrived(peer, report)
        for event in report.events.get(peer.name, ()):
            if event.seq > peer.last:
                peer.events.append(event)
                peer.last = event.seq
                if event.kind is EventKind.FINISHED:
                    peer.open.discard(event.attempt)
        if peer.name in report.lost:
            peer.gone = True
        self._forget(peer)
        return before != (peer.last, peer.ready, peer.gone)

    def _arrived(self, peer: Peer, report: Report) -> None:
        peer.ready = next((ready for ready in report.ready if ready.executor == peer.name), None)
        peer.joined = peer.joined or peer.ready is not None

    def _forget(self, peer: Peer) -> None:
        """Let the executor forget the oldest, where it would repeat much."""
        waiting = [event for event in peer.events if event.seq > peer.acknowledged]
        while waiting and (len(waiting) > KEPT or sum(len(event.data) for event in waiting) > KEPT_BYTES):
            peer.acknowledged = waiting.pop(0).seq

    def idle(self, slots: int) -> list[str]:
        """Executors of so many slots that serve and are as good as new."""
        with self._changed:
            good = [peer for peer in self._peers.values() if peer.serves() and not peer.open and peer.term == 1]
            return [peer.name for peer in good if peer.slots == slots]

    # ── the contract ──

    def ready(self) -> Sequence[Ready]:
        with self._changed:
            return [peer.ready for peer in self._peers.values() if peer.serves() and peer.ready]

    def attach(self, machine: str, slots: int, /) -> None:
        with self._changed:
            peer = self._peers.setdefault(machine, Peer(machine))
            peer.slots = slots
            if peer.settled:
                self._tell(peer, Message(0, "attach", machine, slots=slots))

    def start(self, works: Sequence[Work], on: str, /) -> None:
        with self._changed:
            peer = self._peers.get(on)
            if peer is None or not peer.serves():
                raise Lost(f"executor {on} is not here")
            done = {event.attempt for event in peer.events if event.kind is EventKind.FINISHED}
            peer.term = max(peer.term, *(work.term for work in works))
            peer.open |= {work.attempt for work in works} - done
            self._tell(peer, Message(0, "start", on, works=works))

    def cancel(self, attempts: Collection[str], /) -> None:
        with self._changed:
            for peer in filter(Peer.serves, self._peers.values()):
                self._tell(peer, Message(0, "cancel", attempts=tuple(attempts)))

    def stop(self, machine: str, /, grace: timedelta) -> None:
        with self._changed:
            peer = self._peers.get(machine)
            if peer is not None and not peer.leaving:
                peer.leaving = True
                self._tell(peer, Message(0, "stop", machine, grace_s=grace.total_seconds()))

    def _tell(self, peer: Peer, message: Message) -> None:
        peer.said += 1
        peer.outbox.append(replace(message, n=peer.said))
        self._changed.notify_all()

    def snapshot(self) -> Sequence[Running]:
        with self._changed:
            asked = [peer for peer in self._peers.values() if peer.serves()]
            for peer in asked:
                peer.settled = False
            self._changed.notify_all()
            told = self._changed.wait_for(lambda: all(peer.settled for peer in asked), SETTLES_S)
            assert told, f"no snapshot of {[peer.name for peer in asked if not peer.settled]}"
            return [running for peer in asked for running in peer.running]

    def events(self, after: Cursor, /, wait: timedelta) -> Mapping[str, Sequence[Event]]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._beyond(after)), wait.total_seconds())
            return self._beyond(after)

    def _beyond(self, after: Cursor) -> dict[str, list[Event]]:
        found = {p.name: [e for e in p.events if e.seq > after.get(p.name, 0)] for p in self._peers.values()}
        return {name: events for name, events in found.items() if events}

    def acknowledge(self, upto: Cursor, /) -> None:
        with self._changed:
            for name, seq in upto.items():
                peer = self._peers[name]
                peer.acknowledged = max(peer.acknowledged, seq)
                peer.events = [event for event in peer.events if event.seq > seq]
            self._changed.notify_all()

    def renew(self, lease: timedelta, /) -> None:
        with self._changed:
            self._lease_s = lease.total_seconds()

    def lost(self) -> Sequence[str]:
        """Who is gone, as the executor's gateway or its provider says."""
        ended = set(self._ended())
        with self._changed:
            for peer in self._peers.values():
                peer.gone = peer.gone or peer.name in ended
            found = [p for p in self._peers.values() if p.joined and p.gone and not p.leaving and not p.told_lost]
            for peer in found:
                peer.told_lost = True
            return [peer.name for peer in found]

    def processes(self) -> list[Mapping[str, object]]:
        return []

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
