"""Which owned machine was made which executor, on disk: it outlives the service that wrote it."""

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from executors.contract import Machine, MachineState

log = logging.getLogger(__name__)

REMEMBERED_NS = 600 * 10**9  # how long one that ended is listed


@dataclass(frozen=True, slots=True)
class Loan:
    """One executor on an owned machine, from its order to its end. Times are nanoseconds since the epoch."""

    id: str
    order: str
    machine: str
    slots: int
    launched_at: int
    ran: bool = False  # the machine has said that it runs
    asked: bool = False  # we have said that it shall end
    ended_at: int = 0
    error: str = ""

    def listed(self, pool: str) -> Machine:
        state = MachineState.ENDED if self.ended_at else MachineState.RUNNING if self.ran else MachineState.BOOTING
        ended = _when(self.ended_at) if self.ended_at else None
        return Machine(self.id, self.order, pool, state, self.slots, _when(self.launched_at), ended, self.error)


class StaticBooks:
    """loans.json below `home`. Not for several threads at once."""

    def __init__(self, home: Path) -> None:
        self._file = home / "loans.json"
        self._loans = _read(self._file)

    def all(self) -> list[Loan]:
        """The open ones and those that ended a short while ago, by id."""
        return sorted(self._loans.values(), key=lambda loan: loan.id)

    def find(self, name: str) -> Loan | None:
        return self._loans.get(name)

    def of(self, machine: str) -> Loan | None:
        """What this machine does for us now."""
        return next((loan for loan in self._loans.values() if loan.machine == machine and not loan.ended_at), None)

    def write(self, loan: Loan) -> Loan:
        """Keep it; it is on the disk when this returns. Raises OSError, and then nothing has changed."""
        old = time.time_ns() - REMEMBERED_NS
        kept = {name: one for name, one in self._loans.items() if not one.ended_at or one.ended_at > old}
        kept[loan.id] = loan
        fresh = self._file.with_suffix(".new")
        with open(fresh, "w") as file:
            file.write(json.dumps([asdict(one) for one in kept.values()]))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)
        _settled(self._file.parent)
        self._loans = kept
        return loan

    def end(self, loan: Loan, error: str = "") -> Loan:
        """Its end, now. One that we asked for has nothing wrong with it."""
        at = max(time.time_ns(), loan.launched_at)
        return self.write(replace(loan, ended_at=at, error="" if loan.asked else error))


def _read(file: Path) -> Mapping[str, Loan]:
    """What is damaged is moved aside: machines that work for an executor that nobody knows are told to end it."""
    try:
        found = [_sound(Loan(**raw)) for raw in json.loads(file.read_text())]
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, RecursionError) as error:
        aside = file.with_name(f"{file.name}.damaged-{time.time_ns()}")
        file.replace(aside)
        log.error("%s is damaged (%s): it is %s now, and what was lent is forgotten", file, error, aside.name)
        return {}
    return {loan.id: loan for loan in found}


def _sound(loan: Loan) -> Loan:
    """Raises TypeError."""
    wrong = [f.name for f in fields(Loan) if type(getattr(loan, f.name)) is not f.type]
    if wrong:
        raise TypeError(f"{', '.join(wrong)} of a loan is nonsense")
    return loan


def _settled(folder: Path) -> None:
    """Names are on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _when(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)
