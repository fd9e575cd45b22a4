"""Works and events on their way: encoded once where they arise, carried unread, decoded once where they are needed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, overload

from executors.contract import Event, EventKind, FileRef, Work

T = TypeVar("T")
_ENCODER = json.JSONEncoder(default=asdict, separators=(",", ":"))


class Works(Sequence[Work]):
    """`data` is JSON {"common": {field: value…}, "works": [{field: value…}…]}; fields left at their default are absent,
    those of `common` hold for each work, `env` is the union of both."""

    def __init__(self, data: bytes, count: int) -> None:
        self.data, self._count = data, count

    @classmethod
    def of(cls, works: Sequence[Work]) -> "Works":
        """Works that are packed already are left as they are."""
        return works if isinstance(works, Works) else cls(_pack(works), len(works))

    @classmethod
    def alike(cls, shared: Work, own: Sequence[str]) -> "Works":
        """Works that are as `shared` but for what `own` tells of each: an object of its fields in JSON, attempt and
        token among them, and what its environment has beyond that of `shared`."""
        common = {n: v for (n, absent), v in zip(_DEFAULTS, _VALUES(shared), strict=True) if v != absent}
        text = _ENCODER.encode(common | ({"env": shared.env} if shared.env else {}))
        return cls(f'{{"common":{text},"works":[{",".join(own)}]}}'.encode(), len(own))

    @cached_property
    def _works(self) -> list[Work]:
        """Raises ValueError, KeyError or TypeError when the data is none of ours."""
        raw = json.loads(self.data)
        common = raw["common"]
        if len(raw["works"]) != self._count:
            raise ValueError("more or fewer works than announced")
        return [_work(common, own) for own in raw["works"]]

    @overload
    def __getitem__(self, index: int) -> Work: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Work]: ...
    def __getitem__(self, index: int | slice) -> Work | Sequence[Work]:
        return self._works[index]

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type["Works"], tuple[bytes, int]]:
        return Works, (self.data, self._count)


_OWN = ("attempt", "token")  # of each work another one
_DEFAULTS = tuple(
    (f.name, f.default_factory() if f.default_factory is not MISSING else f.default)
    for f in fields(Work)
    if f.name not in ("env", *_OWN)
)
"""The other fields of a work but `env`, with what they hold when nothing is said."""
_VALUES = attrgetter(*(name for name, _ in _DEFAULTS))


def _shared(works: Sequence[Work]) -> dict[str, str]:
    """What the environments of all of them have."""
    env = dict(works[0].env)
    for work in works:
        if not env.items() <= work.env.items():
            env = dict(env.items() & work.env.items())
    return env


def _differing(works: Sequence[Work]) -> list[str]:
    """The fields in which they are not all alike."""
    first, found = _VALUES(works[0]), set[str]()
    for values in map(_VALUES, works):
        if values != first:
            found |= {name for (name, _), a, b in zip(_DEFAULTS, first, values, strict=True) if a != b}
    return [*_OWN, *(name for name, _ in _DEFAULTS if name in found)]


def _pack(works: Sequence[Work]) -> bytes:
    if not works:
        return b'{"common":{},"works":[]}'
    env = _shared(works)
    common: dict[str, Any] = {"env": env} if env else {}
    first, differing = _VALUES(works[0]), _differing(works)
    for (name, absent), value in zip(_DEFAULTS, first, strict=True):
        if name not in differing and value != absent:
            common[name] = value
    own = [_own(work, differing, env) for work in works]
    return _ENCODER.encode({"common": common, "works": own}).encode()


def _own(work: Work, differing: Iterable[str], env: Mapping[str, str]) -> dict[str, Any]:
    out = {name: getattr(work, name) for name in differing}
    if len(work.env) > len(env):
        out["env"] = {k: v for k, v in work.env.items() if k not in env}
    return out


def _work(common: Mapping[str, Any], own: Mapping[str, Any]) -> Work:
    raw = {**common, **own}
    raw["env"] = {**common.get("env", {}), **own.get("env", {})}
    raw["argv"] = tuple(raw["argv"])
    if "outputs" in raw:
        raw["outputs"] = tuple(raw["outputs"])
    if "inputs" in raw:
        raw["inputs"] = tuple(FileRef(**i) for i in raw["inputs"])
    return _made(Work, raw)


class Events(Sequence[Event]):
    """Events `first`…`last` of one executor: one line of JSON each, and the bytes of the log events in their order."""

    def __init__(self, first: int, last: int, lines: bytes, data: bytes = b"") -> None:
        self.first, self.last, self.lines, self.data = first, last, lines, data

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Events":
        """Consecutive ones. Those that are packed already are left as they are."""
        if isinstance(events, Events):
            return events
        if not events:
            return cls(1, 0, b"")
        lines = b"".join(line(event.seq, _facts(event)) for event in events)
        return cls(events[0].seq, events[-1].seq, lines, b"".join(e.data for e in events))

    @classmethod
    def joined(cls, parts: Sequence["Events"]) -> "Events":
        """Parts that follow each other, at least one."""
        if len(parts) == 1:
            return parts[0]
        lines, data = b"".join(p.lines for p in parts), b"".join(p.data for p in parts)
        return cls(parts[0].first, parts[-1].last, lines, data)

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.lines) + len(self.data)

    def beyond(self, seq: int) -> "Events":
        """Those numbered higher."""
        return self if seq < self.first else Events.of([e for e in self if e.seq > seq])

    @cached_property
    def _events(self) -> list[Event]:
        """Raises ValueError, KeyError or TypeError when lines or data are none of ours."""
        found, offset = [], 0
        for raw in json.loads(b"[" + self.lines[:-1].replace(b"\n", b",") + b"]"):
            if raw["kind"] == EventKind.LOG:
                begin, offset = offset, offset + raw.get("hi", 0) - raw.get("lo", 0)
                raw["data"] = self.data[begin:offset]
            found.append(_event(raw))
        if offset != len(self.data):
            raise ValueError("more or fewer bytes than the log events announce")
        if len(found) != self.last - self.first + 1 or any(e.seq != seq for seq, e in enumerate(found, self.first)):
            raise ValueError("the events are not those that were announced")
        return found

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type["Events"], tuple[int, int, bytes, bytes]]:
        return Events, (self.first, self.last, self.lines, self.data)


class Went(NamedTuple):
    """The end of an attempt that went well and wrote nothing: short tasks are mostly such, and JSON is dear."""

    attempt: str
    token: int
    started: int
    at: int
    cpu_ms: int
    rss_kib: int
    spool: str
    lo: int

    def line(self, seq: int) -> bytes:
        """As `line` would write it; attempts and spools are named by digits, points and dashes."""
        attempt, token, started, at, cpu_ms, rss_kib, spool, lo = self
        return (
            f'{{"seq":{seq},"kind":"finished","attempt":"{attempt}","token":{token},"started":{started},"at":{at},'
            f'"cpu_ms":{cpu_ms},"rss_kib":{rss_kib},"spool":"{spool}","lo":{lo},"hi":{lo}}}\n'
        ).encode()


def plain(name: str) -> bool:
    """Whether such a name needs no thought in JSON."""
    return name.isascii() and name.replace(".", "").replace("-", "").isdigit()


def line(seq: int, facts: Mapping[str, Any]) -> bytes:
    """One event as a journal keeps it and a report carries it; JSON text never holds a bare line feed."""
    return _ENCODER.encode({"seq": seq, **facts}).encode() + b"\n"


def _facts(event: Event) -> dict[str, Any]:
    """The fields of an event but its number and its bytes, those at their default left out."""
    pairs = ((f.name, getattr(event, f.name), f.default) for f in fields(Event) if f.name not in ("seq", "data"))
    return {name: value for name, value, absent in pairs if value != absent}


_KINDS = {str(kind): kind for kind in EventKind}


def _event(raw: dict[str, Any]) -> Event:
    raw["kind"] = _KINDS[raw["kind"]]
    if "outputs" in raw:
        raw["outputs"] = tuple(FileRef(**o) for o in raw["outputs"])
    return _made(Event, raw)


def _made(kind: type[T], raw: Mapping[str, Any]) -> T:
    """What a newer one says beyond is left out; looked for only when there is something, since this is called often."""
    try:
        return kind(**raw)
    except TypeError:
        names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
        if raw.keys() <= names:
            raise
        return kind(**{name: value for name, value in raw.items() if name in names})


def event(text: bytes) -> Event:
    """One line back, without the bytes of a log event. Raises ValueError, KeyError or TypeError."""
    return _event(json.loads(text))
