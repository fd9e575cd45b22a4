"""The gateway's side of `sync`, against a farm that loses answers, changes its term and goes away."""

import contextlib
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from multiprocessing.connection import Listener
from pathlib import Path
from types import SimpleNamespace

import pytest

from executors.contract import Event, EventKind, Ready, Running, Work
from executors.errors import Lost
from executors.packed import Events
from executors.site import conversation as conversation_file
from executors.site import feed as feed_file
from executors.site.channel import Away, Channel
from executors.site.conversation import MOST_BYTES, Conversation, _portion
from executors.site.feed import Feed, worth_gathering
from executors.site.gateway import Gateway
from executors.site.plain_site import PlainSite
from executors.site.protocol import Answer, Message, Report
from executors.site.wire import address, key
from tests.unit.sync_farm import TOKEN, Farm

PATIENCE_S = 10


class Site:
    """Keeps the contract of a site, in memory: what is started runs until it is finished by hand."""

    def __init__(self):
        self.changed = threading.Condition()
        self.feed = Feed()
        self.calls, self.members, self.gone, self.running = [], {}, [], {}
        self.renewed = threading.Event()
        self.failing, self.mute, self.broken = set(), set(), threading.Event()

    def _note(self, *call):
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()

    def until(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)

    def ready(self):
        return list(self.members.values())

    def attach(self, machine, slots, /):
        self.members[machine] = Ready(machine, slots)
        self._note("attach", machine, slots)

    def start(self, works, on, /):
        if on not in self.members:
            raise Lost(on)
        if "start" in self.failing:
            raise RuntimeError("submit failed on the executor")
        for work in works:
            self.running[work.attempt] = Running(on, work.attempt, work.token, "running")
        self._note("start", on, [w.attempt for w in works])

    def cancel(self, attempts, /):
        if "cancel" in self.failing:
            raise RuntimeError("cancel failed on the executor")
        self._note("cancel", sorted(attempts))

    def stop(self, machine, /, grace):
        self._note("stop", machine, grace)

    def snapshot(self):
        """Who is mute is lost."""
        for who in self.mute & set(self.members):
            del self.members[who]
            self.gone.append(who)
        return list(self.running.values())

    def events(self, after, /, wait):
        if self.broken.is_set():
            raise OSError("no site any more")
        return self.feed.after(after, wait.total_seconds())

    def acknowledge(self, upto, /):
        self.feed.acknowledge(upto)
        self._note("acknowledge", dict(upto))

    def renew(self, lease, /):
        self._note("renew", lease)
        self.renewed.set()

    def lost(self):
        gone, self.gone = self.gone, []
        return gone

    def close(self):
        self.feed.wake()


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="farm-t"))
    (path / "token").write_text(TOKEN + "\n")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def farm(folder):
    farm = Farm(folder / "s").open()
    yield farm
    farm.close()


@pytest.fixture
def site():
    return Site()


@pytest.fixture
def halted():
    return threading.Event()


@pytest.fixture
def died():
    return threading.Event()


@pytest.fixture
def conversation(farm, site, folder, halted, died):
    talk = Conversation(site, lambda wait: Channel(farm.path, folder / "token", "local", wait), halted.set, died.set)
    talk.start()
    yield talk
    talk.close()
    with farm.changed:
        farm.refuse = True
        farm.changed.notify_all()
    site.close()


def log_line(seq, data):
    return Event(seq, EventKind.LOG, "1.1.1", 5, spool="0", lo=0, hi=len(data), data=data)


def test_it_settles_with_what_runs_before_anything_else(farm, site, conversation):
    farm.until(lambda: farm.snapshots)
    assert farm.snapshots[0] == ()
    farm.say("attach", executor="e1", slots=2)
    site.until(lambda: ("attach", "e1", 2) in site.calls)
    farm.until(lambda: any(r.ready == (Ready("e1", 2),) for r in farm.reports))


def test_events_reach_the_farm_once_with_their_bytes_and_are_then_forgotten(farm, site, conversation):
    events = [log_line(1, b"one\n\x00\xff"), Event(2, EventKind.FINISHED, "1.1.1", 5, at=9, exit=-9, cause="timeout")]
    farm.until(lambda: farm.snapshots)
    site.feed.put("e1", Events.of(events))
    farm.until(lambda: len(farm.events) == 2)
    assert farm.events == events
    site.until(lambda: any(c[0] == "acknowledge" and c[1].get("e1") == 2 for c in site.calls))
    assert site.feed.after({}, 0) == {}


def test_lost_answers_lose_nothing_and_repeat_nothing(farm, site, conversation):
    farm.until(lambda: farm.snapshots)
    site.members["e1"] = Ready("e1", 1)
    for round_ in range(5):
        with farm.changed:
            farm.lose_answers = 2
        farm.say("start", executor="e1", works=(Work(f"1.{round_}.1", round_, 1, ("true",)),))
        site.feed.put("e1", Events.of([log_line(round_ + 1, b"x" * round_)]))
        farm.until(lambda r=round_: len(farm.events) == r + 1)
        site.until(lambda r=round_: ("start", "e1", [f"1.{r}.1"]) in site.calls)
    starts = [c[2] for c in site.calls if c[0] == "start"]
    assert starts == [[f"1.{n}.1"] for n in range(5)]
    assert [e.seq for e in farm.events] == [1, 2, 3, 4, 5]


def test_a_new_term_gets_a_snapshot_and_numbers_its_messages_anew(farm, site, conversation):
    farm.until(lambda: farm.snapshots)
    site.members["e1"] = Ready("e1", 1)
    farm.say("start", executor="e1", works=(Work("1.1.1", 4, 1, ("true",)),))
    site.until(lambda: "1.1.1" in site.running)
    farm.new_term()
    farm.until(lambda: len(farm.snapshots) >= 2)
    assert farm.snapshots[-1] == (Running("e1", "1.1.1", 4, "running"),)
    farm.say("cancel", attempts=("1.1.1",))
    site.until(lambda: ("cancel", ["1.1.1"]) in site.calls)


def test_what_is_on_its_way_from_before_a_snapshot_counts_no_more(site, folder):
    """The farm has given it to others: it was not in the snapshot, and what comes after that is numbered behind it."""
    site.members["e1"] = Ready("e1", 1)
    late = Message(5, "start", executor="e1", works=(Work("1.1.1", 4, 1, ("true",)),))
    attach = Message(8, "attach", executor="e1", slots=1)
    farm = SimpleNamespace(call=lambda _report: Answer(1, messages=(attach,)))
    talk = Conversation(site, lambda _wait: farm, lambda: None, lambda: None)
    talk._term, talk._received = 1, 3
    talk._settle(farm, 1)
    for message in (late, attach):
        talk._take(message, 1)
    assert [call[0] for call in site.calls if call[0] in ("start", "attach")] == ["attach"]


def test_a_lease_counts_from_when_it_was_asked_for(monkeypatch):
    """The farm gives the work to others when its own count is over: ours must not end later."""
    clock = SimpleNamespace(monotonic=lambda: clock.now, time_ns=time.time_ns, now=100.0)
    monkeypatch.setattr(conversation_file, "time", clock)

    class Slow:
        takes_s = 5

        def call(self, report):
            clock.now += self.takes_s
            return Answer(1, lease_s=20)

    site, slow = Site(), Slow()
    talk = Conversation(site, lambda _: slow, threading.Event().set, threading.Event().set)
    talk._ask(slow, Report("s"))
    slow.takes_s = 30
    talk._ask(slow, Report("s"))  # it is over before it comes
    assert site.calls == [("renew", timedelta(seconds=15))]


def test_no_lease_is_renewed_while_the_farm_is_away_and_it_comes_back(farm, site, conversation):
    site.until(lambda: any(c[0] == "renew" and timedelta() < c[1] <= timedelta(seconds=7) for c in site.calls))
    with farm.changed:
        farm.refuse = True
        farm.changed.notify_all()
        farm.reports.clear()
    farm.until(lambda: len(farm.reports) >= 6)
    renewals = [c for c in site.calls if c[0] == "renew"]
    with farm.changed:
        farm.reports.clear()
    farm.until(lambda: len(farm.reports) >= 2)
    assert [c for c in site.calls if c[0] == "renew"] == renewals
    with farm.changed:
        farm.refuse = False
    site.renewed.clear()
    assert site.renewed.wait(PATIENCE_S)


def test_lost_executors_are_told_until_the_farm_has_heard(farm, site, conversation):
    farm.until(lambda: farm.snapshots)
    with farm.changed:
        farm.lose_answers = 3
        farm.reports.clear()
        site.gone = ["e7"]
    farm.until(lambda: farm.lose_answers == 0 and sum("e7" in r.lost for r in farm.reports) >= 1)


def test_work_for_an_executor_that_is_not_there_makes_it_lost(farm, conversation):
    farm.until(lambda: farm.snapshots)
    farm.say("start", executor="nobody", works=(Work("1.1.1", 1, 1, ("true",)),))
    farm.until(lambda: any("nobody" in r.lost for r in farm.reports))


def test_a_message_that_fails_makes_its_executor_lost_and_the_next_ones_are_heard(farm, site, conversation, died):
    farm.until(lambda: farm.snapshots)
    site.members["e1"] = Ready("e1", 1)
    site.failing.update({"start", "cancel"})
    farm.say("start", executor="e1", works=(Work("1.1.1", 1, 1, ("true",)),))
    farm.until(lambda: any("e1" in r.lost for r in farm.reports))
    farm.say("cancel", attempts=("1.1.1",))
    for n in range(20):  # both ways carry messages
        farm.say("attach", executor=f"x{n}", slots=1)
        site.until(lambda n=n: ("attach", f"x{n}", 1) in site.calls)
    assert not died.is_set()
    assert not any("" in r.lost for r in farm.reports)


def test_half_a_conversation_is_none(farm, site, conversation, died):
    farm.until(lambda: farm.snapshots)
    assert not died.is_set()
    site.broken.set()
    assert died.wait(PATIENCE_S)


def test_a_gateway_whose_conversation_died_ends_with_a_status_of_its_own():
    ended = subprocess.run([sys.executable, "-c", "from executors.site.gateway import died; died()"], check=False)
    assert ended.returncode == 70


def test_who_is_not_in_the_snapshot_is_not_ready_in_that_report(farm, site, conversation):
    farm.until(lambda: farm.snapshots)
    site.members |= {"e1": Ready("e1", 1), "e2": Ready("e2", 1)}
    farm.until(lambda: any(len(r.ready) == 2 for r in farm.reports))
    site.mute.add("e1")
    with farm.changed:
        farm.reports.clear()
    farm.new_term()
    farm.until(lambda: any("e1" in r.lost for r in farm.reports))
    (told,) = {r.ready for r in farm.reports if r.snapshot is not None and r.term == 2}
    assert told == (Ready("e2", 1),)


def test_who_became_ready_after_the_snapshot_is_not_ready_in_that_report(site, folder):
    talk = Conversation(site, lambda wait: Channel("", folder, "", wait), lambda: None, lambda: None)
    site.members["e1"] = Ready("e1", 1)
    taken = site.snapshot

    def late():
        found = taken()
        site.members["e2"] = Ready("e2", 1)
        return found

    site.snapshot = late
    assert talk._state() == ((Ready("e1", 1),), ())


@pytest.fixture
def failing_agent(folder):
    """Plain executor e1: it greets, and fails in the methods given."""
    listener = Listener(address(str(folder), "e1"), "AF_UNIX", authkey=key(str(folder)))
    failing, released = set(), threading.Event()

    def converse(connection):
        with contextlib.suppress(EOFError, OSError), connection:
            while True:
                method, _ = connection.recv()
                if method == "hello":
                    connection.send((True, Ready("e1", 1, 1)))
                elif method in failing:
                    connection.send((False, "OSError('no space left')"))
                else:
                    released.wait()
                    connection.send((True, []))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=converse, args=(listener.accept(),), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield failing
    released.set()
    with contextlib.suppress(FileNotFoundError):  # a buried executor's socket is gone
        listener.close()


def eventually_lost(site):
    deadline = time.monotonic() + PATIENCE_S
    while not (lost := site.lost()) and time.monotonic() < deadline:
        site.events({}, timedelta(seconds=0.1))
    return lost


def test_a_plain_executor_whose_agent_fails_is_lost(folder, failing_agent):
    failing_agent.add("poll")
    site = PlainSite(str(folder))
    try:
        assert eventually_lost(site) == ["e1"]
        assert site.ready() == []
    finally:
        site.close()


def test_a_plain_executor_that_cannot_say_what_runs_is_lost_and_not_ready(folder, failing_agent):
    failing_agent.update({"snapshot", "nudge"})
    site = PlainSite(str(folder))
    try:
        assert [r.executor for r in site.ready()] == ["e1"]
        assert site.snapshot() == []
        assert (site.ready(), site.lost()) == ([], ["e1"])
    finally:
        site.close()


def test_stopping_and_halting(farm, site, conversation, halted):
    farm.say("stop", executor="e1", grace_s=3)
    site.until(lambda: ("stop", "e1", timedelta(seconds=3)) in site.calls)
    farm.say("halt")
    assert halted.wait(PATIENCE_S)


def test_processes_are_told_once_each_time_they_were_listed(farm, conversation):
    conversation.tell_processes([{"role": "gateway", "pid": 1}])
    farm.until(lambda: any(r.processes == ({"role": "gateway", "pid": 1},) for r in farm.reports))


@pytest.fixture
def calm(monkeypatch):
    """Nothing is told because of the time alone."""
    monkeypatch.setattr(conversation_file, "HEARTBEAT_S", 3600.0)
    monkeypatch.setattr(conversation_file, "EVENTS_WAIT", timedelta(seconds=600))


def test_other_processes_than_before_are_told_at_once(farm, site, calm, conversation):
    farm.until(lambda: farm.settled)
    conversation.tell_processes([{"role": "keeper", "pid": 1}])
    site.feed.nudge()
    conversation.tell_processes([{"role": "keeper", "pid": 2}], now=True)
    site.feed.nudge()
    farm.until(lambda: any(r.processes == ({"role": "keeper", "pid": 2},) for r in farm.reports))


class Listed:
    """A site of two executors whose keepers change, as far as its listing goes."""

    def __init__(self):
        self.keepers, self.asked, self.hurried = {"e1": 10, "e2": 20}, [], 0

    def processes(self, of=()):
        self.asked.append(sorted(of))
        return [{"role": "keeper", "executor": x, "pid": pid} for x, pid in self.keepers.items() if not of or x in of]

    def stirred(self, _wait_s):
        """e2 has another keeper; e1 is gone; nothing; the end."""
        if len(self.asked) == 1:
            self.keepers["e2"] = 21
            return {"e2"}
        if len(self.asked) == 2:
            del self.keepers["e1"]
            return {"e1"}
        self.ended = len(self.asked) == 4
        return set()

    ended = False

    def hurry(self):
        self.hurried += 1


def test_who_has_other_processes_is_asked_alone(folder):
    site, told = Listed(), []
    gateway = Gateway(SimpleNamespace(run=str(folder)))
    gateway._ended = SimpleNamespace(is_set=lambda: site.ended, wait=lambda _s: pytest.fail("it could not be listed"))
    talk = SimpleNamespace(tell_processes=lambda found, now: told.append(([p["pid"] for p in found[1:]], now)))
    gateway._list(site, talk)
    assert site.asked == [[], ["e2"], ["e1"], []]
    assert told == [([10, 20], False), ([10, 21], True), ([21], True), ([21], False)]
    assert site.hurried == 4


def test_an_answer_that_is_none_of_ours_counts_as_away(folder):
    class Odd(socketserver.StreamRequestHandler):
        def handle(self):
            headers = dict(line.split(b": ") for line in iter(self.rfile.readline, b"\r\n") if b": " in line)
            self.rfile.read(int(headers[b"Content-Length"]))  # an answer to half a request breaks its pipe
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"term": []')

    with socketserver.UnixStreamServer(str(folder / "odd"), Odd) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(Away, match="none of ours"):
            Channel(str(folder / "odd"), folder / "token", "local", 0).call(Report("s"))


def test_a_wrong_token_is_told_as_such(farm, folder):
    (folder / "token").write_text("another")
    with pytest.raises(Away, match="401"):
        Channel(farm.path, folder / "token", "local", 0).call(Report("s"))


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("99999999", 60), ("soon", 0)])
def test_a_farm_that_has_no_room_says_when_to_come_again(folder, said, seconds):
    class Full(socketserver.StreamRequestHandler):
        def handle(self):
            headers = dict(line.split(b": ") for line in iter(self.rfile.readline, b"\r\n") if b": " in line)
            self.rfile.read(int(headers[b"Content-Length"]))
            self.wfile.write(f"HTTP/1.1 503 No\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n".encode())

    with socketserver.UnixStreamServer(str(folder / "full"), Full) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(Away) as told:
            Channel(str(folder / "full"), folder / "token", "local", 0).call(Report("s"))
    assert told.value.retry_s == seconds


def test_it_is_left_alone_for_so_long():
    class Closed(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            self.set()

    class Full:
        def call(self, _report):
            raise Away("503", 5.0)

    waits: list[float] = []
    one = Conversation(None, lambda _s: Full(), lambda: None, lambda: None)
    one._closed = Closed()
    assert one._ask(Full(), Report("s")) is None
    assert waits == [5.0]


@pytest.mark.parametrize(("lease_s", "waited_s"), [(None, 15.0), (8.0, 2.0), (600.0, 60.0)])
def test_but_not_for_so_long_that_its_lease_ends(lease_s, waited_s):
    """What stands before the farm may say so, for a moment in which the farm is started anew."""

    class Closed(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            self.set()

    class Full:
        def call(self, _report):
            raise Away("503", 60.0)

    waits: list[float] = []
    one = Conversation(Site(), lambda _s: Full(), lambda: None, lambda: None)
    if lease_s:
        one._heard(Answer(1, lease_s=lease_s), time.monotonic())
    one._closed = Closed()
    assert one._ask(Full(), Report("s")) is None
    assert waits == [waited_s]


def test_a_report_carries_a_bounded_portion_but_always_something():
    huge = {who: Events.of([log_line(1, b"x" * MOST_BYTES)]) for who in ("e1", "e2")}
    assert [(who, len(found)) for who, found in _portion(huge).items()] == [("e1", 1)]
    small = {who: Events.of([log_line(1, b"x")]) for who in ("e1", "e2")}
    assert _portion(small) == small


def started(*numbers):
    return Events.of([Event(n, EventKind.STARTED) for n in numbers])


def test_a_full_feed_makes_its_executor_wait_until_the_farm_has_heard(monkeypatch):
    feed, filled = Feed(), started(*range(1, 10))
    monkeypatch.setattr(feed_file, "ROOM_BYTES", filled.size)
    feed.put("e1", filled)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (feed.put("e1", started(10)), done.set()))
    thread.start()
    assert not done.wait(0.1)
    feed.acknowledge({"e1": 9})
    assert done.wait(PATIENCE_S)
    thread.join()
    assert [e.seq for e in feed.after({"e1": 9}, 0)["e1"]] == [10]


def test_a_feed_drops_what_was_seen_before():
    feed = Feed()
    feed.put("e1", started(1, 2, 3))
    feed.acknowledge({"e1": 2})
    feed.put("e1", started(2, 3, 4))
    assert [e.seq for e in feed.after({}, 0)["e1"]] == [3, 4]
    assert [e.seq for e in feed.after({"e1": 3}, 0)["e1"]] == [4]


def test_an_answer_of_a_feed_is_bounded_but_always_something(monkeypatch):
    feed = Feed()
    monkeypatch.setattr(feed_file, "MOST_BYTES", 1)
    feed.put("e1", started(1, 2))
    feed.put("e1", started(3))
    assert [e.seq for e in feed.after({}, 0)["e1"]] == [1, 2]
    assert [e.seq for e in feed.after({"e1": 2}, 0)["e1"]] == [3]


def test_many_short_tasks_are_gathered_and_what_tasks_print_is_not():
    ends = Events.of([Event(n, EventKind.FINISHED, "1.1.1", 1) for n in range(1, 4)])
    output = [
        Event(n, EventKind.LOG, "1.1.1", 1, spool="s", lo=0, hi=1 << 18, data=bytes(1 << 18)) for n in range(1, 4)
    ]
    assert worth_gathering([ends])
    assert worth_gathering([ends[:2], ends[2:]])
    assert not worth_gathering([ends[:2]])
    assert not worth_gathering([ends, output])
