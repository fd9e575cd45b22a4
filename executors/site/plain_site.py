"""Work on executors that are plain processes of this machine: the same contract as Ray's site, for tests and trials."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from executors.contract import Cursor, Event, Ready, Running, Work
from executors.errors import Lost
from executors.packed import Events, Works
from executors.site.feed import Feed, worth_gathering
from executors.site.stirred import Stirred
from executors.site.wire import ANSWER_S, Wire, address, key, sockets

log = logging.getLogger(__name__)

POLL_S = 2.0
GRACE_S = 5.0  # between TERM and KILL of a cancelled attempt
LINGER_S = 2.0  # for the last events of an executor that stops
RETRY_S = 0.02
GROUP_S = 0.3  # how long more events are gathered where that is worth it


@dataclass(slots=True)
class _Member:
    """An executor that is expected or has joined; `wire` is for calls, polls have one of their own."""

    path: str
    id: str = ""
    ready: Ready | None = None
    wire: Wire | None = None
    lease_s: float = 0
    gather_s: float = 0
    leaving: bool = False
    drained: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    last: int = 0
    thread: threading.Thread | None = None


class PlainSite:
    """A Site (see executors.contract). Each executor listens at a socket derived from its id."""

    def __init__(self, run: str) -> None:
        self._run, self._key = run, key(run)
        self._feed, self._stirred = Feed(), Stirred()
        self._lock = threading.Lock()
        self._members: dict[str, _Member] = {}
        self._lost: list[str] = []
        self._closing = threading.Event()
        for path in sockets(run).glob("*.sock"):
            self._adopt(str(path))

    def _adopt(self, path: str) -> None:
        """Take over an executor that an earlier site has attached; a socket nobody listens at means nothing."""
        try:
            wire = Wire(path, self._key)
            ready: Ready = wire.call("hello")
        except Lost:
            return
        self._follow(_Member(path, ready.executor, ready, wire))

    def attach(self, machine: str, slots: int, /) -> None:
        with self._lock:
            known = machine in self._members
        if not known:
            self._follow(_Member(address(self._run, machine), machine))

    def _follow(self, member: _Member) -> None:
        with self._lock:
            self._members[member.id] = member
        member.thread = threading.Thread(target=self._accompany, args=(member,), name=member.id, daemon=True)
        member.thread.start()

    # ── one thread per executor ──────────────────────────────────────────────────────────────────

    def _accompany(self, member: _Member) -> None:
        """From its first sign of life to its last event."""
        try:
            polls = self._expect(member)
            if polls is not None:
                self._listen(member, polls)
        except Lost:
            self._bury(member)
        except Exception:  # an agent that fails is of no more use than one that is gone
            log.exception("executor %s has failed", member.id)
            self._bury(member)

    def _listen(self, member: _Member, polls: Wire) -> None:
        try:
            while not self._closing.is_set():
                self._poll(member, polls)
        finally:
            polls.shut()

    def _expect(self, member: _Member) -> Wire | None:
        while not self._closing.is_set() and not member.leaving:
            try:
                polls = Wire(member.path, self._key)
                if member.ready is None:
                    member.wire = Wire(member.path, self._key)
                    member.ready = member.wire.call("hello")
            except Lost:
                self._closing.wait(RETRY_S)
            else:
                self._feed.nudge()
                self._stirred.note(member.id)
                return polls
        return None

    def _poll(self, member: _Member, polls: Wire) -> None:
        lease, member.lease_s = member.lease_s, 0.0
        known = self._feed.acknowledged(member.id)
        wait = 0.0 if member.leaving else POLL_S
        asked = time.monotonic()
        about = (max(member.last, known), known, lease, wait, member.gather_s)
        events: Events = polls.call("poll", *about, within_s=wait + ANSWER_S)
        if events:
            self._feed.put(member.id, events)
            member.last = events.last
            member.gather_s = GROUP_S if worth_gathering([events]) else 0
        elif member.leaving:
            member.drained.set()
            member.gone.wait(RETRY_S)
        elif time.monotonic() - asked < POLL_S / 2:  # there are other processes than before
            self._stirred.note(member.id)

    def _bury(self, member: _Member) -> None:
        with self._lock:
            if self._members.get(member.id) is member:
                del self._members[member.id]
                if not member.leaving:
                    self._lost.append(member.id)
                Path(member.path).unlink(missing_ok=True)
        member.gone.set()
        self._feed.nudge()
        self._stirred.note(member.id)

    # ── the contract ─────────────────────────────────────────────────────────────────────────────

    def ready(self) -> Sequence[Ready]:
        with self._lock:
            return [m.ready for m in self._members.values() if m.ready and not m.leaving]

    def start(self, works: Sequence[Work], on: str, /) -> None:
        with self._lock:
            member = self._members.get(on)
        if member is None or member.ready is None or member.wire is None:
            raise Lost(f"executor {on} is not here")
        member.wire.call("submit", Works.of(works))

    def cancel(self, attempts: Collection[str], /) -> None:
        self._everywhere(lambda wire: wire.call("cancel", list(attempts), GRACE_S))

    def _everywhere(
        self,
        call: Callable[[Wire], Any],
        mute: Callable[[_Member], None] = lambda _: None,
        of: Collection[str] = (),
    ) -> list[Any]:
        """Ask all executors, or these; those that are gone or fail are left out, and given to `mute`."""
        with self._lock:
            asked = [(m, m.wire) for m in self._members.values() if m.ready and m.wire and (not of or m.id in of)]
        answers = []
        for member, wire in asked:
            try:
                answers.append(call(wire))
            except (Lost, RuntimeError) as error:
                log.warning("executor %s: %s", member.id, error)
                mute(member)
        return answers

    def stop(self, machine: str, /, grace: timedelta) -> None:
        with self._lock:
            member = self._members.get(machine)
            if member is None:
                return
            member.leaving = True
        try:
            if member.wire is None or member.ready is None:
                raise Lost(f"executor {machine} never came")
            member.wire.call("stop", grace.total_seconds(), within_s=grace.total_seconds() + ANSWER_S)
            member.drained.clear()
            member.drained.wait(LINGER_S)
            member.wire.call("leave")
            member.gone.wait(LINGER_S)
        except Lost:
            pass
        self._bury(member)

    def snapshot(self) -> Sequence[Running]:
        """Who does not answer is lost, and so not ready: its work is not unknown, it is gone."""
        return [r for found in self._everywhere(lambda w: w.call("snapshot"), self._bury) for r in found]

    def processes(self, of: Collection[str] = ()) -> list[Mapping[str, Any]]:
        """Agents, keepers and tasks, as `farm status` lists them."""
        return [p for found in self._everywhere(lambda w: w.call("processes"), of=of) for p in found]

    def stirred(self, wait_s: float) -> Collection[str]:
        return self._stirred.wait(wait_s)

    def hurry(self) -> None:
        self._feed.nudge()

    def events(self, after: Cursor, /, wait: timedelta) -> Mapping[str, Sequence[Event]]:
        return self._feed.after(after, wait.total_seconds())

    def acknowledge(self, upto: Cursor, /) -> None:
        self._feed.acknowledge(upto)

    def renew(self, lease: timedelta, /) -> None:
        with self._lock:
            for member in self._members.values():
                member.lease_s = lease.total_seconds()

    def lost(self) -> Sequence[str]:
        with self._lock:
            lost, self._lost = self._lost, []
        return lost

    def close(self) -> None:
        self._closing.set()
        self._feed.wake()
        self._stirred.close()
        with self._lock:
            members = list(self._members.values())
        self._everywhere(lambda wire: wire.call("nudge"))
        for member in members:
            if member.thread is not None:
                member.thread.join(POLL_S + 1)
            if member.wire is not None:
                member.wire.shut()
