"""What was bought on EC2, kept by us: its own listing is late, now and then wrong, and forgets after an hour."""

import contextlib
import json
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from executors.contract import Machine, MachineState
from executors.ec2.cloud import Instance

UNSEEN = timedelta(minutes=5)  # an instance that EC2 does not list is believed in for so long
LISTED = timedelta(hours=1)  # how long an ended machine is listed
KEPT = timedelta(hours=3)  # and how long it is known to have ended: longer than EC2 lists it
AGAIN = timedelta(seconds=30)  # one that has ended and is listed as alive after this is ended again


@dataclass(frozen=True, slots=True)
class Rented:
    """One machine. Without an `instance` it is a call whose answer has not come."""

    id: str
    order: str
    slots: int
    launched_at: datetime
    instance: str = ""
    state: MachineState = MachineState.BOOTING
    asked: bool = False  # it was told to end
    ended_at: datetime | None = None
    error: str = ""

    def machine(self, pool: str) -> Machine:
        return Machine(
            self.id, self.order, pool, self.state, self.slots, self.launched_at, self.ended_at, self.error
        )  # fmt: skip


def now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


class Books:
    """One small file per machine, so that a crash between any two calls loses nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._rented = {r.id: r for file in sorted(folder.glob("*.json")) if (r := _read(file))}
        self._seen = dict.fromkeys(self._rented, time.monotonic())  # when EC2 listed it last, or might have

    def find(self, name: str) -> Rented | None:
        with self._lock:
            return self._rented.get(name)

    def all(self) -> list[Rented]:
        """Every machine there is, and those that ended within the hour."""
        with self._lock:
            lately = now() - LISTED
            return [r for r in self._rented.values() if r.instance and (not r.ended_at or r.ended_at > lately)]

    def living(self) -> list[Rented]:
        """What counts against a ceiling: also what may have been bought."""
        with self._lock:
            return [r for r in self._rented.values() if r.ended_at is None]

    # ── writing ──

    def intend(self, name: str, order: str, slots: int) -> None:
        """Before EC2 is asked."""
        with self._lock:
            if name not in self._rented:
                self._keep(Rented(name, order, slots, now()))

    def withdraw(self, name: str) -> None:
        """EC2 has said no: nothing was bought."""
        with self._lock:
            rented = self._rented.get(name)
            if rented is not None and not rented.instance:
                self._drop(name)

    def bought(self, name: str, instance: Instance) -> Rented:
        """What EC2 answered, or lists."""
        with self._lock:
            before = self._rented.get(name)
            if before is None or not before.instance:
                launched = instance.launched_at
                before = Rented(name, instance.order, instance.slots, launched, instance.id)
            return self._keep(_seen(before, instance))

    def asked(self, names: Collection[str]) -> list[Rented]:
        """Those of the names that live; they are told to end now."""
        with self._lock:
            found = [r for name in sorted(names) if (r := self._rented.get(name)) and r.instance and not r.ended_at]
            return [self._keep(replace(r, asked=True)) for r in found]

    def ended(self, name: str, error: str = "") -> None:
        with self._lock:
            if (rented := self._rented.get(name)) and not rented.ended_at:
                self._keep(_ended(rented, now(), error))

    def believe(self, listed: Iterable[Instance]) -> list[str]:
        """Take over what EC2 lists of this pool; instances to be ended, because they should not be."""
        with self._lock:
            names = [i for i in listed if i.executor]
            stray = [i.id for i in names if not self._believed(i)]
            for name in set(self._rented) - {i.executor for i in names}:
                self._unseen(self._rented[name])
            return stray

    def _believed(self, listed: Instance) -> bool:
        """False for one that should not live: a second one of its name, or one back from the dead."""
        known = self._rented.get(listed.executor)
        living = listed.state is not MachineState.ENDED
        self._seen[listed.executor] = time.monotonic()
        if known is not None and known.instance and known.instance != listed.id:
            return not living
        if known is not None and known.ended_at:
            return not living or now() - known.ended_at < AGAIN
        self.bought(listed.executor, listed)
        return True

    def _unseen(self, rented: Rented) -> None:
        age = timedelta(seconds=time.monotonic() - self._seen.setdefault(rented.id, time.monotonic()))
        if rented.ended_at:
            if now() - rented.ended_at > KEPT:
                self._drop(rented.id)
        elif age > UNSEEN and rented.instance:
            self._keep(_ended(rented, now(), "EC2 does not know it any more"))
        elif age > UNSEEN:
            self._drop(rented.id)

    def _keep(self, rented: Rented) -> Rented:
        if self._rented.get(rented.id) != rented:
            self._rented[rented.id] = rented
            self._seen.setdefault(rented.id, time.monotonic())
            _write(self._folder / f"{rented.id}.json", rented)
        return rented

    def _drop(self, name: str) -> None:
        self._rented.pop(name, None)
        self._seen.pop(name, None)
        (self._folder / f"{name}.json").unlink(missing_ok=True)


def _seen(rented: Rented, instance: Instance) -> Rented:
    if rented.ended_at:
        return rented
    if instance.state is MachineState.ENDED:
        return _ended(rented, instance.ended_at or now(), instance.why or "EC2 has ended it and does not say why")
    return replace(rented, state=instance.state)


def _ended(rented: Rented, at: datetime, error: str) -> Rented:
    """One that was told to end has ended for no fault."""
    told = "" if rented.asked else error
    return replace(rented, state=MachineState.ENDED, ended_at=max(at, rented.launched_at), error=told)


def _write(file: Path, rented: Rented) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(rented), default=_plain))
    fresh.replace(file)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read(file: Path) -> Rented | None:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        raw = json.loads(file.read_text())
        raw["state"] = MachineState(raw["state"])
        for name in ("launched_at", "ended_at"):
            raw[name] = datetime.fromisoformat(raw[name]) if raw[name] else None
        return Rented(**raw)
    return None
