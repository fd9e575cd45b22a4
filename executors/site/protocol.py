"""`sync`: the one conversation between a gateway and the farm.

The gateway posts to /v1/sites/{site}/sync; a body is one line of JSON, then the raw bytes of the log events in
order (each event's `data` is replaced by its length, `bytes`). Two calls run side by side: `up` carries events and
returns at once, `down` carries none and waits up to `wait` seconds for messages. Messages are numbered per (term,
session) from 1 and repeated until `received` covers them, so a lost answer loses nothing. A farm that has not
settled this (term, session) yet answers `settle: true` and nothing else; the gateway repeats the call with its
snapshot. Protocol versions N and N-1 understand each other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any

from executors.contract import Event, EventKind, FileRef, Ready, Running, Work

PROTOCOL = 1
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
    works: tuple[Work, ...] = ()
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
    """A dataclass as a dict without the fields that hold their default."""
    kind: Any = type(value)
    pairs = ((name, getattr(value, name), absent) for name, absent in _defaults(kind))
    return {name: v for name, v, absent in pairs if v != absent}


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Field names with what they hold when nothing is said."""
    return tuple((f.name, f.default_factory() if f.default_factory is not MISSING else f.default) for f in fields(kind))


def _event(event: Event) -> dict[str, Any]:
    out = _lean(event)
    if event.data:
        out["data"] = len(event.data)
    if event.outputs:
        out["outputs"] = [asdict(o) for o in event.outputs]
    return out


def _unevent(raw: dict[str, Any]) -> Event:
    raw["kind"] = EventKind(raw["kind"])
    if "outputs" in raw:
        raw["outputs"] = tuple(FileRef(**o) for o in raw["outputs"])
    return Event(**raw)


def encode_report(report: Report) -> bytes:
    head = _lean(report) | {"session": report.session, "protocol": report.protocol}
    head["ready"] = [asdict(r) for r in report.ready]
    head["events"] = {who: [_event(e) for e in events] for who, events in report.events.items()}
    if report.snapshot is not None:
        head["snapshot"] = [asdict(r) for r in report.snapshot]
    blobs = [e.data for events in report.events.values() for e in events if e.data]
    return b"".join([json.dumps(head, separators=(",", ":")).encode(), b"\n", *blobs])


def decode_report(body: bytes) -> Report:
    """Raises ValueError, KeyError or TypeError when the body is none of ours."""
    line, _, rest = body.partition(b"\n")
    head = json.loads(line)
    offset = 0
    events: dict[str, list[Event]] = {}
    for who, raws in head.pop("events", {}).items():
        events[who] = []
        for raw in raws:
            size = raw.pop("data", 0)
            event = _unevent(raw)
            if size:
                event = replace(event, data=rest[offset : offset + size])
                offset += size
            events[who].append(event)
    head["ready"] = tuple(Ready(**r) for r in head.get("ready", ()))
    head["lost"] = tuple(head.get("lost", ()))
    head["processes"] = tuple(head.get("processes", ()))
    if head.get("snapshot") is not None:
        head["snapshot"] = tuple(Running(**r) for r in head["snapshot"])
    return Report(events=events, **head)


def _work(work: Work) -> dict[str, Any]:
    out = _lean(work)
    if work.inputs:
        out["inputs"] = [asdict(i) for i in work.inputs]
    return out


def _message(message: Message) -> dict[str, Any]:
    out = _lean(message)
    if message.works:
        out["works"] = [_work(w) for w in message.works]
    return out


def encode_answer(answer: Answer) -> bytes:
    head = _lean(answer) | {"term": answer.term, "messages": [_message(m) for m in answer.messages]}
    return json.dumps(head, separators=(",", ":")).encode()


def _unwork(raw: dict[str, Any]) -> Work:
    raw["argv"] = tuple(raw["argv"])
    raw["outputs"] = tuple(raw.get("outputs", ()))
    raw["inputs"] = tuple(FileRef(**i) for i in raw.get("inputs", ()))
    return Work(**raw)


def _unmessage(raw: dict[str, Any]) -> Message:
    raw["works"] = tuple(_unwork(w) for w in raw.get("works", ()))
    raw["attempts"] = tuple(raw.get("attempts", ()))
    return Message(**raw)


def decode_answer(body: bytes) -> Answer:
    """Raises ValueError, KeyError or TypeError when the body is none of ours."""
    head = json.loads(body)
    head["messages"] = tuple(_unmessage(m) for m in head.get("messages", ()))
    return Answer(**head)
