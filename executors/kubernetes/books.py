"""What is remembered of pods: a cluster forgets them the moment they are deleted, the bill must not."""

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from executors.contract import Machine, MachineState
from executors.errors import Lost

LISTED = timedelta(minutes=10)  # how long an ended one is listed
KEPT = timedelta(days=1)  # how long its order's token buys nothing more


@dataclass(frozen=True, slots=True)
class Entry:
    """One pod that was made. `words`: what its cluster said of it last, should it vanish without another word."""

    machine: Machine
    name: str  # of the pod
    uid: str
    asked: bool = False  # its end was
    words: str = ""


class Books:
    """One small file per pod. Its folder outlives the farm's process; several threads may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = threading.RLock()

    def find(self, executor: str) -> Entry | None:
        return _read(self._file(executor))

    def all(self) -> list[Entry]:
        return [entry for file in sorted(self._folder.glob("*.json")) if (entry := _read(file))]

    def write(self, entry: Entry) -> None:
        """Raises Lost when the disk does not take it: what it was about is asked again."""
        file = self._file(entry.machine.id)
        fresh = file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(_plain(entry)))
            fresh.replace(file)
        except OSError as error:
            raise Lost(f"the pool's books can't be written: {error.strerror}") from error

    def end(self, entry: Entry, at: datetime, error: str, asked: bool = False) -> Entry:
        """Write that it has ended, once: who ended stays as it was."""
        if entry.machine.ended_at is not None:
            return entry
        at = max(at, entry.machine.launched_at)
        machine = replace(entry.machine, state=MachineState.ENDED, ended_at=at, error="" if asked else error)
        ended = replace(entry, machine=machine, asked=asked)
        self.write(ended)
        return ended

    def listed(self, now: datetime) -> list[Machine]:
        """All that live or have ended lately; those that ended long ago are forgotten."""
        machines = []
        for entry in self.all():
            age = now - entry.machine.ended_at if entry.machine.ended_at else timedelta()
            if age > KEPT:
                self._file(entry.machine.id).unlink(missing_ok=True)
            elif age <= LISTED:
                machines.append(entry.machine)
        return machines

    def living(self) -> set[str]:
        return {e.machine.id for e in self.all() if e.machine.ended_at is None}

    def slots(self, besides: Collection[str] = ()) -> int:
        return sum(e.machine.slots for e in self.all() if e.machine.ended_at is None and e.machine.id not in besides)

    def _file(self, executor: str) -> Path:
        return self._folder / f"{executor}.json"


def _plain(entry: Entry) -> dict[str, Any]:
    m = entry.machine
    return {
        "id": m.id,
        "order": m.order,
        "pool": m.pool,
        "state": m.state.value,
        "slots": m.slots,
        "launched_at": m.launched_at.isoformat(),
        "ended_at": m.ended_at.isoformat() if m.ended_at else None,
        "error": m.error,
        "name": entry.name,
        "uid": entry.uid,
        "asked": entry.asked,
        "words": entry.words,
    }


def _read(file: Path) -> Entry | None:
    try:
        return _entry(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(raw: Mapping[str, Any]) -> Entry:
    machine = Machine(
        id=raw["id"],
        order=raw["order"],
        pool=raw["pool"],
        state=MachineState(raw["state"]),
        slots=raw["slots"],
        launched_at=_instant(raw["launched_at"]),
        ended_at=_instant(raw["ended_at"]) if raw["ended_at"] else None,
        error=raw["error"],
    )
    return Entry(machine, raw["name"], raw["uid"], raw["asked"], raw["words"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
