"""Work on executors through Ray. This process holds the only driver of the site."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from executors.contract import Cursor, Event, Ready, Running, Work
from executors.errors import Lost
from executors.packed import Events, Works
from executors.site.feed import Feed, worth_gathering
from executors.site.ray_calls import Calls
from executors.site.ray_head import HeadInfo, ensure_head
from executors.site.ray_private import Node, drain_node, gcs_client, nodes
from executors.site.raylet import bell, node_folder
from executors.site.rest import Ringing
from executors.site.stirred import Stirred

log = logging.getLogger(__name__)

NAMESPACE = "farm"
PREFIX = "exec-"
CALLS = 16  # that may wait inside one agent at a time
POLL_S = 3.0
GROUP_S = 0.3  # how long more events are gathered where that is worth it
ANSWER_S = 8.0  # a frozen node is known dead before that; a mute agent alone is replaced
LEAST_S = 0.5  # to fetch an answer that is there
GRACE_S = 5.0  # between TERM and KILL of a cancelled attempt
CREATE_S = 30.0
SOON_S = 30.0  # after which an expected executor is looked for less often
CLOSE_S = 5.0
ADOPT_S = 10.0


@dataclass(slots=True)
class _Member:
    """An executor that is expected or has joined."""

    id: str
    slots: int
    node: str = ""
    agent: Any = None
    pid: int = 0
    since: float = field(default_factory=time.monotonic)
    leaving: bool = False
    last: int = 0  # number of the last event polled
    renew_s: float = 0
    gather_s: float = 0
    thread: threading.Thread | None = None
    settled: threading.Event = field(default_factory=threading.Event)  # it has answered, or never will
    gone: threading.Event = field(default_factory=threading.Event)


class RaySite:
    """A Site (see executors.contract). Executors join by themselves; each gets one detached actor, made here."""

    def __init__(self, run: str, farm: str, alone: bool = False) -> None:
        """`alone`: the only executor's node is the head's, too; who starts it is our parent."""
        self._run = run
        self.head: HeadInfo = ensure_head(run, farm, alone)
        _connect(self.head)
        self._client = gcs_client(self.head.address)
        self._feed, self._stirred = Feed(), Stirred()
        self._lock = threading.Lock()
        self._members: dict[str, _Member] = {}
        self._lost: list[str] = []
        self._calls = Calls()
        self._followers: list[threading.Thread] = []
        self._look, self._closing = threading.Event(), threading.Event()
        self._adopt()
        self._watcher = threading.Thread(target=self._watch, name="nodes", daemon=True)
        self._watcher.start()

    # ── Joining and leaving ──────────────────────────────────────────────────────────────────────

    def _adopt(self) -> None:
        """Take over the agents an earlier gateway has made."""
        import ray
        from ray.util import list_named_actors

        there = {n.executor: n for n in nodes(self._client)}
        for name in list_named_actors():
            node = there.get(name.removeprefix(PREFIX))
            if name.startswith(PREFIX) and node:
                self._join(_Member(node.executor, node.slots), node, self._ringing(node.executor, ray.get_actor(name)))
        deadline = time.monotonic() + ADOPT_S  # a snapshot without them would give their work to others
        for member in list(self._members.values()):
            member.settled.wait(max(0.0, deadline - time.monotonic()))

    def attach(self, machine: str, slots: int, /) -> None:
        with self._lock:
            self._members.setdefault(machine, _Member(machine, slots))
        self._look.set()

    def _watch(self) -> None:
        """Ray tells outsiders nothing of nodes that come and go, so read its table: often while one is expected."""
        while not self._closing.is_set():
            self._look.clear()
            try:
                self._compare(nodes(self._client, timeout_s=5))
            except Exception:  # the GCS is away: executors work on without it, and so do we
                self._closing.wait(0.5)
            self._look.wait(0.03 if self._expecting() else 0.5)

    def _expecting(self) -> bool:
        with self._lock:
            return any(not m.node and time.monotonic() - m.since < SOON_S for m in self._members.values())

    def _compare(self, table: Sequence[Node]) -> None:
        alive = {n.executor: n for n in table if n.executor}
        with self._lock:
            members = list(self._members.values())
        for member in members:
            node = alive.get(member.id)
            if not member.node and node:
                self._join(member, node)
            elif member.node and (node is None or node.id != member.node):
                self._gone(member)

    def _join(self, member: _Member, node: Node, agent: Any = None) -> None:
        with self._lock:
            self._members[member.id] = member
            member.node, member.agent = node.id, agent
        member.thread = threading.Thread(target=self._follow, args=(member,), name=member.id, daemon=True)
        self._followers = [*(t for t in self._followers if t.is_alive()), member.thread]
        member.thread.start()

    def _gone(self, member: _Member) -> None:
        with self._lock:
            if self._members.get(member.id) is member:
                del self._members[member.id]
                if not member.leaving:
                    self._lost.append(member.id)
        member.gone.set()
        member.settled.set()
        self._feed.nudge()
        self._stirred.note(member.id)
        shutil.rmtree(node_folder(self._run, member.id), ignore_errors=True)

    # ── One thread per executor ──────────────────────────────────────────────────────────────────

    def _follow(self, member: _Member) -> None:
        try:
            member.agent = member.agent or self._ringing(member.id, _create(member))
            member.pid = self._calls.answer(member.agent.hello.remote(), CREATE_S)
            member.settled.set()
            self._feed.nudge()
            self._stirred.note(member.id)
            while not (self._closing.is_set() or member.gone.is_set()):
                self._poll(member)
        except Exception as error:
            log.info("executor %s is followed no more: %s", member.id, error)
            self._mute(member)

    def _ringing(self, executor: str, handle: Any) -> Ringing:
        return Ringing(handle, bell(self._run, executor))

    def _poll(self, member: _Member) -> None:
        lease, member.renew_s = member.renew_s, 0.0
        known, asked = self._feed.acknowledged(member.id), time.monotonic()
        ref = member.agent.poll.remote(max(member.last, known), known, lease, POLL_S, member.gather_s)
        events: Events = self._calls.answer(ref, POLL_S + ANSWER_S)
        if events:
            self._feed.put(member.id, events)
            member.last = events.last
        elif time.monotonic() - asked < POLL_S / 2:  # there are other processes than before
            self._stirred.note(member.id)
        member.gather_s = GROUP_S if worth_gathering([events]) else 0

    def _abandon(self, member: _Member) -> None:
        """Its agent is gone or mute: whatever the node still is, it is no executor any more."""
        import ray

        self._gone(member)
        if not member.leaving:
            try:
                if member.agent is not None:  # a mute one may work on, and its node would stay for it
                    ray.kill(member.agent.handle)
                drain_node(self._client, member.node, "its agent is gone", timeout_s=5)
            except Exception:  # the node went with it
                pass

    # ── The contract ─────────────────────────────────────────────────────────────────────────────

    def ready(self) -> Sequence[Ready]:
        with self._lock:
            return [Ready(m.id, m.slots, m.pid, m.node) for m in self._members.values() if m.pid and not m.leaving]

    def start(self, works: Sequence[Work], on: str, /) -> None:
        member = self._member(on)
        if member is None:
            raise Lost(f"executor {on} is not here")
        self._called(member, member.agent.submit.remote(Works.of(works)), ANSWER_S)

    def _member(self, executor: str) -> _Member | None:
        with self._lock:
            member = self._members.get(executor)
        return member if member and member.pid else None

    def _joined(self) -> list[_Member]:
        with self._lock:
            return [m for m in self._members.values() if m.pid]

    def cancel(self, attempts: Collection[str], /) -> None:
        self._everywhere(lambda m: m.agent.cancel.remote(list(attempts), GRACE_S))

    def _everywhere(
        self, call: Any, mute: Callable[[_Member], None] = lambda _: None, of: Collection[str] = ()
    ) -> list[Any]:
        """Call all agents at once, or those `of` these executors; those that fail or do not answer are left out, and
        given to `mute`."""
        from ray.exceptions import RayError

        asked = [(member, call(member)) for member in self._joined() if not of or member.id in of]
        deadline = time.monotonic() + ANSWER_S  # for all of them: one that is mute costs as much as many
        answers = []
        for member, ref in asked:
            try:
                answers.append(self._called(member, ref, max(LEAST_S, deadline - time.monotonic())))
            except (Lost, RayError) as error:
                log.warning("executor %s: %s", member.id, error)
                mute(member)
        return answers

    def stop(self, machine: str, /, grace: timedelta) -> None:
        import ray

        with self._lock:
            member = self._members.get(machine)
            if member is None:
                return
            member.leaving = True
            if not member.node:
                del self._members[machine]
                return
        try:
            self._empty(member, grace.total_seconds())
        except Lost:
            pass
        if member.agent is not None:
            ray.kill(member.agent.handle)
        self._let_go(member)

    def _empty(self, member: _Member, grace_s: float) -> None:
        """End what runs there and fetch the last events."""
        if member.pid:
            self._calls.answer(member.agent.stop.remote(grace_s), grace_s + ANSWER_S)
            last = known = self._feed.acknowledged(member.id)
            while events := self._calls.answer(member.agent.poll.remote(last, known, 0.0, 0.0), ANSWER_S):
                self._feed.put(member.id, events)
                last = events.last

    def _let_go(self, member: _Member) -> None:
        """The raylet ends a moment after its last actor."""
        drain_node(self._client, member.node, "no longer needed")
        deadline = time.monotonic() + ANSWER_S
        while not member.gone.wait(0.02) and time.monotonic() < deadline:
            self._look.set()
        self._gone(member)

    def snapshot(self) -> Sequence[Running]:
        """Who does not answer is lost, and so not ready: else its work would be given to others while it runs."""
        return [r for found in self._everywhere(lambda m: m.agent.snapshot.remote(), self._mute) for r in found]

    def _mute(self, member: _Member) -> None:
        if not self._closing.is_set():
            self._abandon(member)

    def processes(self, of: Collection[str] = ()) -> list[Mapping[str, Any]]:
        """Raylets, agents, keepers and tasks, as `farm status` lists them."""
        return [p for found in self._everywhere(lambda m: m.agent.processes.remote(), of=of) for p in found]

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
                member.renew_s = lease.total_seconds()

    def lost(self) -> Sequence[str]:
        with self._lock:
            lost, self._lost = self._lost, []
        return lost

    def close(self) -> None:
        """Who waits for an answer is let go first, see `Calls`; agents that answer end their polls."""
        import ray

        if self._closing.is_set():
            return
        self._closing.set()
        self._feed.wake()
        self._stirred.close()
        self._look.set()
        for member in self._joined():
            member.agent.nudge.remote()
        self._calls.close()
        deadline = time.monotonic() + CLOSE_S
        for thread in (self._watcher, *self._followers):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._members.clear()  # their handles go before Ray does
        ray.shutdown()

    def _called(self, member: _Member, ref: Any, timeout_s: float) -> Any:
        try:
            return self._calls.answer(ref, timeout_s)
        except Lost as error:
            raise Lost(f"executor {member.id} does not answer") from error


def _connect(head: HeadInfo) -> None:
    import ray

    ray.init(address=head.address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")


def _create(member: _Member) -> Any:
    """The executor's one actor. Right after a node has joined Ray may still call it unschedulable: try again."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from executors.site.ray_agent import RayAgent

    return (
        ray.remote(RayAgent)
        .options(
            name=PREFIX + member.id,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=0,
            max_concurrency=CALLS,
            scheduling_strategy=NodeAffinitySchedulingStrategy(member.node, soft=False),
        )
        .remote(member.id, member.slots)
    )
