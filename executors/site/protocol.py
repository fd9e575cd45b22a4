"""`sync`: the one conversation between a gateway and the farm.

The gateway posts to /v1/sites/{site}/sync; a body is one line of JSON, then raw bytes whose lengths the line tells: in
a report per executor the lines and the output of its events ([first, last, lines, data]), in an answer the works of
each message ([how many, bytes]). A gateway carries them unread (`executors/packed.py`).

Two calls run side by side: `up` carries events and returns at once, `down` carries none and waits up to `wait` seconds
for messages. Messages are numbered per (term, session) from 1 and repeated until `received` covers them, so a lost
answer loses nothing. A farm that has not settled this (term, session) yet answers `settle: true` and nothing else; the
gateway repeats the call with its snapshot.

Versions N and N-1 understand each other: what one does not know it leaves out, and nothing is said that the other end
has not shown to know. 2 added `now`, the clock of the executor, and `leaving` to a report. What is further away is
refused when an executor joins, which tells its version and hears that of the farm.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from typing import Any

from executors.contract import Event, Ready, Running, Work
from executors.packed import Events, Works

PROTOCOL = 2
SINCE_2 = ("now", "leaving")
CONTENT_TYPE = "application/x-farm-sync"


@dataclass(frozen=True, slots=True)
class Report:
    """What a gateway says."""

    session: str  # of the gateway process: a new one after each start
    term: int = 0  # of the farm as last heard
    received: int = 0  # number of the last message handled
    wait_s: float = 0
    ready: tuple[Ready, ...] = ()
    lost: tuple[str, ...] = ()
    events: Mapping[str, Sequence[Event]] = field(default_factory=dict)
    snapshot: tuple[Running, ...] | None = None
    protocol: int = PROTOCOL
    processes: tuple[Mapping[str, Any], ...] = ()  # {role, pid, started, executor, attempt} below this gateway
    now: int = 0  # nanoseconds since the epoch on the clock that the events are timed by; 0 is unknown
    leaving: bool = False  # the executor goes by its own wish: it gets no more work, and `lost` tells when it has gone


@dataclass(frozen=True, slots=True)
class Message:
    """What the farm wants.

    Kind `attach` (executor, slots), `start` (executor, works), `cancel` (attempts), `stop` (executor, grace_s),
    `halt` (end the head of the site, then the gateway itself).
    """

    n: int
    kind: str
    executor: str = ""
    slots: int = 0
    works: Sequence[Work] = ()
    attempts: tuple[str, ...] = ()
    grace_s: float = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the farm answers."""

    term: int
    settle: bool = False
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    lease_s: float = 60
    protocol: int = PROTOCOL


def _lean(value: Any) -> dict[str, Any]:
    """A dataclass as a dict without the fields that hold their default, and without what travels in another form."""
    kind: Any = type(value)
    pairs = ((name, getattr(value, name), absent) for name, absent in _defaults(kind) if name not in _PACKED)
    return {name: v for name, v, absent in pairs if v != absent}


_PACKED = ("works", "events", "messages", "ready", "snapshot")


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Field names with what they hold when nothing is said."""
    return tuple((f.name, f.default_factory() if f.default_factory is not MISSING else f.default) for f in fields(kind))


class _Reader:
    """Takes the bytes after the first line, piece by piece. Raises ValueError when there are too few or too many."""

    def __init__(self, body: bytes) -> None:
        line, _, self._rest = body.partition(b"\n")
        self.head: dict[str, Any] = json.loads(line)
        if not isinstance(self.head, dict):
            raise ValueError("its first line is no object")
        self._at = 0

    def take(self, size: int) -> bytes:
        begin, self._at = self._at, self._at + size
        if size < 0 or self._at > len(self._rest):
            raise ValueError("it ends too early")
        return self._rest[begin : self._at]

    def close(self) -> None:
        if self._at != len(self._rest):
            raise ValueError("more comes than was announced")


def _written(head: Mapping[str, Any], blobs: Sequence[bytes]) -> bytes:
    return b"".join([json.dumps(head, separators=(",", ":")).encode(), b"\n", *blobs])


def encode_report(report: Report) -> bytes:
    head = _lean(report) | {"session": report.session, "protocol": report.protocol}
    if report.protocol < 2:
        head = {name: said for name, said in head.items() if name not in SINCE_2}
    head["ready"] = [asdict(r) for r in report.ready]
    packed = {who: Events.of(events) for who, events in report.events.items()}
    head["events"] = {who: [e.first, e.last, len(e.lines), len(e.data)] for who, e in packed.items()}
    if report.snapshot is not None:
        head["snapshot"] = [asdict(r) for r in report.snapshot]
    return _written(head, [blob for e in packed.values() for blob in (e.lines, e.data)])


def decode_report(body: bytes) -> Report:
    """Raises ValueError, KeyError, TypeError or AttributeError when the body is none of ours."""
    reader = _Reader(body)
    head = reader.head
    events: dict[str, Sequence[Event]] = {}
    for who, (first, last, lines, data) in head.pop("events", {}).items():
        events[who] = Events(first, last, reader.take(lines), reader.take(data))[:]  # list() would trust the length
    reader.close()
    head["ready"] = tuple(Ready(**_known(Ready, r)) for r in head.get("ready", ()))
    head["lost"] = tuple(head.get("lost", ()))
    head["processes"] = tuple(head.get("processes", ()))
    if head.get("snapshot") is not None:
        head["snapshot"] = tuple(Running(**_known(Running, r)) for r in head["snapshot"])
    return Report(events=events, **_known(Report, head))


def _known(kind: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What this version knows of; a newer one may say more."""
    names = {name for name, _ in _defaults(kind)}
    return {name: value for name, value in raw.items() if name in names}


def encode_answer(answer: Answer) -> bytes:
    packed = [Works.of(m.works) for m in answer.messages]
    messages = [_lean(m) | {"works": [len(w), len(w.data)]} for m, w in zip(answer.messages, packed, strict=True)]
    return _written(
        _lean(answer) | {"term": answer.term, "protocol": answer.protocol, "messages": messages},
        [w.data for w in packed],
    )


def decode_answer(body: bytes) -> Answer:
    """Works stay packed. Raises ValueError, KeyError, TypeError or AttributeError when the body is none of ours."""
    reader = _Reader(body)
    head = reader.head
    head["messages"] = tuple(_message(raw, reader) for raw in head.get("messages", ()))
    reader.close()
    return Answer(**{"protocol": 1, **_known(Answer, head)})


def _message(raw: dict[str, Any], reader: _Reader) -> Message:
    count, size = raw.pop("works")
    raw["works"] = Works(reader.take(size), count)
    raw["attempts"] = tuple(raw.get("attempts", ()))
    return Message(**_known(Message, raw))
