"""The gateway's side of `sync`: two threads that speak with the farm for one site."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from executors.contract import Event, Ready, Running, Site
from executors.errors import Lost
from executors.packed import Events
from executors.site.channel import Away, Channel
from executors.site.feed import worth_gathering
from executors.site.protocol import Answer, Message, Report

log = logging.getLogger(__name__)

EVENTS_WAIT = timedelta(milliseconds=250)  # so soon it is told when an executor is ready, at the latest
HEARTBEAT_S = 2.0
DOWN_WAIT_S = 20.0
MOST_BYTES = 4_000_000  # in one report, and what the last executor in it brings
GROUP_S = 0.1  # how long more events are gathered where that is worth it
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

Processes = Callable[[], Sequence[Mapping[str, Any]]]


@runtime_checkable
class ListsProcesses(Protocol):
    """A site that can say what runs below it, for `farm status`."""

    def processes(self, of: Collection[str] = ()) -> Sequence[Mapping[str, Any]]:
        """Of these executors, or of all."""
        ...

    def stirred(self, wait_s: float) -> Collection[str]:
        """Block until executors, agents or keepers are new or gone, at most that long; the executors."""
        ...

    def hurry(self) -> None:
        """Let who waits for events go on now."""
        ...


class Conversation:
    """Carries events up and messages down until closed; goes on for ever when the farm is away."""

    def __init__(
        self,
        site: Site,
        connect: Callable[[float], Channel],
        halt: Callable[[], None],
        died: Callable[[], None],
    ) -> None:
        """`connect` makes a channel whose answers may take that many seconds; `halt` is what that message calls;
        `died` is called when a thread ends by an error: half a conversation is none, end the process."""
        self._site, self._connect, self._halt, self._died = site, connect, halt, died
        self._session = secrets.token_hex(8)
        self._term = self._received = 0
        self._protocol = 0  # of the farm, as last heard
        self._patience_s = Answer(0).lease_s / 4  # for so long the farm may be left alone, whatever answers for it
        self._settled = -1  # the term that has our snapshot
        self._cursor: dict[str, int] = {}
        self._lost: set[str] = set()
        self._processes: tuple[Mapping[str, Any], ...] = ()
        self._stir = False  # they are others than before
        self._renewed = 0.0  # when the answer was asked for that the lease was renewed by last
        self._handling = threading.RLock()  # a snapshot is never taken in the middle of a message
        self._closed = threading.Event()
        self._finishing = self._leaving = False
        self._told_leaving = threading.Event()
        self._told_all = threading.Event()
        self._threads = [
            threading.Thread(target=self._live, args=(way,), name=way.__name__, daemon=True)
            for way in (self._up, self._down)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _live(self, way: Callable[[], None]) -> None:
        try:
            way()
        except BaseException:  # Ray ends waiting threads by SystemExit: fine when closed, a death otherwise
            if not self._closed.is_set():
                log.exception("half of the conversation with the farm has died: %s", way.__name__)
                self._died()

    def close(self) -> None:
        """The threads end with the process: a call that waits in the farm is not waited for."""
        self._closed.set()

    def finish(self, within_s: float) -> bool:
        """Wait until the farm has been told all that there is; False when the time is up first."""
        self._told_all.clear()
        self._finishing = True
        return self._told_all.wait(within_s)

    def leave(self, within_s: float) -> bool:
        """From now on every report says that the executors here go; False when the farm has not heard it in time."""
        self._leaving = True
        return self._told_leaving.wait(within_s)

    def gone(self, executors: Sequence[str], within_s: float) -> bool:
        """Tell that they are no more; False when the farm has not heard it in time."""
        self._lost.update(executors)
        return self.finish(within_s)

    def tell_processes(self, processes: Sequence[Mapping[str, Any]], now: bool = False) -> None:
        """What goes with the next report, which with `now` comes as soon as nobody waits for events any more."""
        self._processes = tuple(processes)
        self._stir = self._stir or now

    # ── Up ───────────────────────────────────────────────────────────────────────────────────────

    def _up(self) -> None:
        channel = self._connect(0)
        told: tuple[object, ...] = ()
        due = 0.0
        while not self._closed.is_set():
            events = self._site.events(dict(self._cursor), EVENTS_WAIT)
            self._lost.update(self._site.lost())
            ready = tuple(self._site.ready())
            now = time.monotonic()
            if not (events or self._lost or self._stir or (ready, self._leaving) != told or now >= due):
                if self._finishing:
                    self._told_all.set()
                continue
            told, due, self._stir = (ready, self._leaving), now + HEARTBEAT_S, False
            leaving = self._leaving and self._protocol > 1
            self._tell(channel, Report(self._session, ready=ready, events=_portion(events), leaving=leaving))
            if worth_gathering(events.values()):
                self._closed.wait(now + GROUP_S - time.monotonic())

    def _tell(self, channel: Channel, report: Report) -> None:
        """Raises nothing: repeats until the farm has it or we are closed."""
        lost, processes = tuple(sorted(self._lost)), self._processes
        before = dict(self._cursor)
        answer = self._ask(channel, report, lost=lost, processes=processes)
        if answer is None:
            return
        self._lost.difference_update(lost)
        if report.leaving:
            self._told_leaving.set()
        if self._processes is processes:
            self._processes = ()
        self._acknowledge(answer)
        self._take_all(answer)
        if report.events and before == self._cursor:  # it took nothing: do not spin
            self._closed.wait(FIRST_PAUSE_S)

    def _acknowledge(self, answer: Answer) -> None:
        for executor, seq in answer.acknowledged.items():
            self._cursor[executor] = max(seq, self._cursor.get(executor, 0))
        if answer.acknowledged:
            self._site.acknowledge(answer.acknowledged)

    # ── Down ─────────────────────────────────────────────────────────────────────────────────────

    def _down(self) -> None:
        channel = self._connect(DOWN_WAIT_S)
        while not self._closed.is_set():
            answer = self._ask(channel, Report(self._session, wait_s=DOWN_WAIT_S))
            if answer is not None:
                self._take_all(answer)

    def _take_all(self, answer: Answer) -> None:
        for message in answer.messages:
            self._take(message, answer.term)

    def _take(self, message: Message, term: int) -> None:
        """Each message once, in order, and none of a term that is over."""
        with self._handling:
            if term != self._term or message.n <= self._received:
                return
            try:
                self._handle(message)
            except Lost as error:
                log.info("%s: %s", message.kind, error)
                self._give_up(message.executor)
            except Exception:  # repeating it would fail again, for ever
                log.exception("message %d failed: %s %s", message.n, message.kind, message.executor)
                self._give_up(message.executor)
            self._received = message.n

    def _give_up(self, executor: str) -> None:
        """What is there is unknown now; a message to all names no executor."""
        if executor:
            self._lost.add(executor)

    def _handle(self, message: Message) -> None:
        if message.kind == "attach":
            self._site.attach(message.executor, message.slots)
        elif message.kind == "start":
            self._site.start(message.works, message.executor)
        elif message.kind == "cancel":
            self._site.cancel(message.attempts)
        elif message.kind == "stop":
            grace = timedelta(seconds=message.grace_s)
            threading.Thread(target=self._stop, args=(message.executor, grace), daemon=True).start()
        elif message.kind == "halt":
            self._halt()
        else:
            log.warning("a message of a kind unknown here: %s", message.kind)

    def _stop(self, executor: str, grace: timedelta) -> None:
        """Draining takes its time; other messages do not wait for it."""
        try:
            self._site.stop(executor, grace=grace)
        except Exception:
            log.exception("executor %s could not be stopped; the farm ends its machine", executor)

    # ── Both ─────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, channel: Channel, report: Report, **more: Any) -> Answer | None:
        """Call until there is an answer to this very report; None when we are closed first."""
        pause = FIRST_PAUSE_S
        while not self._closed.is_set():
            asked = time.monotonic()
            try:
                more["now"] = time.time_ns() if report.events and self._protocol > 1 else 0
                answer = channel.call(_with(report, term=self._term, received=self._received, **more))
                self._protocol = answer.protocol
                if not answer.settle:
                    self._heard(answer, asked)
                    return answer
                self._settle(channel, answer.term)
            except Away as error:
                log.info("the farm is away: %s", error)
                self._closed.wait(max(pause, min(error.retry_s, self._patience_s)))
                pause = min(pause * 2, LONGEST_PAUSE_S)
        return None

    def _heard(self, answer: Answer, asked: float) -> None:
        """The farm counts from when it has heard us at the latest; an answer that took long is worth the less."""
        with self._handling:
            self._enter(answer.term)
            self._patience_s = answer.lease_s / 4
            left_s = answer.lease_s - (time.monotonic() - asked)
            if left_s > 0 and asked - self._renewed > min(1.0, answer.lease_s / 4):
                self._renewed = asked
                self._site.renew(timedelta(seconds=left_s))

    def _enter(self, term: int) -> None:
        """Messages are numbered anew in each term. Answers of a term that is over change nothing."""
        if term > self._term:
            self._term, self._received = term, 0

    def _settle(self, channel: Channel, term: int) -> None:
        """Say what runs where, once for both threads. Raises Away."""
        with self._handling:
            self._enter(term)
            if self._settled == self._term:
                self._closed.wait(FIRST_PAUSE_S)  # the farm still digests what the other thread has told
            ready, snapshot = self._state()
            answer = channel.call(Report(self._session, self._term, self._received, ready=ready, snapshot=snapshot))
            if not answer.settle:
                self._settled = self._term
                self._enter(answer.term)
                if answer.messages:  # those before, some of them on their way, were for what the snapshot did not tell
                    self._received = max(self._received, answer.messages[0].n - 1)
                self._acknowledge(answer)

    def _state(self) -> tuple[tuple[Ready, ...], tuple[Running, ...]]:
        """Who is ready and what runs there. Ready counts only who was so before and after the snapshot: work of an
        executor that is ready and not in the snapshot would be given to others."""
        before = tuple(self._site.ready())
        snapshot = tuple(self._site.snapshot())
        after = {r.executor for r in self._site.ready()}
        return tuple(r for r in before if r.executor in after), snapshot


def _with(report: Report, **changes: Any) -> Report:
    from dataclasses import replace

    return replace(report, **changes)


def _portion(events: Mapping[str, Sequence[Event]]) -> dict[str, Events]:
    """As many executors' events as one report should carry; at least one's."""
    room = MOST_BYTES
    out: dict[str, Events] = {}
    for who, found in events.items():
        if room <= 0:
            break
        out[who] = Events.of(found)
        room -= out[who].size
    return out
