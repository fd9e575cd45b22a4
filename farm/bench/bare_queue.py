"""The queue's own functions on a database, without a service: claims and ends, as a dispatcher writes them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from executors.contract import Event, EventKind, Work
from farm.clock import Clock
from farm.config import FarmConfig
from farm.db import Database
from farm.model import JobSpec
from farm.queue import settle
from farm.queue.claim import Claim
from farm.queue.room import Room
from farm.queue.submit import submit

LANES = FarmConfig().all_lanes()
TOOK_NS = 1_000_000  # what each task claims to have taken


@dataclass
class BareQueue:
    """Every call is a transaction of its own, on disk when it returns."""

    db: Database
    clock: Clock
    seq: int = 0

    def submit(self, spec: JobSpec) -> int:
        with self.db.write() as tx:
            return submit(tx, spec, LANES, self.clock.now())

    def claim(self, tasks: int) -> list[Work]:
        """What an empty executor of so many slots gets."""
        with self.db.write() as tx:
            return list(Claim(tx, LANES, 1, self.clock.now()).fill([Room("bench", tasks, 0)], {}).get("bench", ()))

    def finish(self, works: Sequence[Work]) -> None:
        """They ended just now, and well."""
        now = time.time_ns()
        ends = [("bench", self._end(work, now)) for work in works]
        with self.db.write() as tx:
            settle.finished(tx, ends, self.clock.now())

    def _end(self, work: Work, now: int) -> Event:
        self.seq += 1
        spool = {"spool": "0", "lo": self.seq * 100, "hi": self.seq * 100 + 60}
        about = {"started": now - TOOK_NS, "at": now, "cpu_ms": 1, "rss_kib": 2000, **spool}
        return Event(self.seq, EventKind.FINISHED, work.attempt, work.token, **about)  # type: ignore[arg-type]
