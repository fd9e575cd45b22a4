"""What a claim has to know before it begins, in one question: who waits, what lanes and owners were given, what is
held."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text

from farm import tables as t
from farm.queue.needy import WALK
from farm.queue.shares import Fact
from farm.queue.waiting import PLAIN_STEPS, PLAIN_TASKS, Pair, pair_walk

_ALL: Any = text(f"""
WITH RECURSIVE {pair_walk("step", PLAIN_STEPS)}, {pair_walk("task", PLAIN_TASKS)}, {WALK},
waiting(what, lane, owner, kind) AS (
  SELECT 'step', lane, owner, '' FROM step_pairs WHERE owner IS NOT NULL
  UNION ALL SELECT 'task', lane, owner, '' FROM task_pairs WHERE owner IS NOT NULL
  UNION ALL SELECT 'needy', lane, owner, kind FROM step_owners WHERE owner IS NOT NULL
  UNION ALL SELECT 'needy', lane, owner, kind FROM task_owners WHERE owner IS NOT NULL
)
SELECT what, lane, owner, kind, 0.0 AS virtual_s, false AS backlogged FROM waiting
UNION ALL SELECT 'held', name, '', '', 0.0, false FROM hold WHERE hold.kind = 'lane'
UNION ALL SELECT 'lane', name, '', '', virtual_s, backlogged FROM lane_fact
UNION ALL SELECT 'owner', lane, owner, '', virtual_s, backlogged FROM owner_fact
WHERE backlogged OR lane IN (SELECT lane FROM waiting)
""").bindparams(bindparam("now", type_=t.Utc()))


@dataclass(slots=True)
class Standing:
    """Who has steps, tasks with rows, and work of which kind of needs that waits; where lanes and owners were left."""

    steps: set[Pair] = field(default_factory=set)
    tasks: set[Pair] = field(default_factory=set)
    needy: set[tuple[str, str, str]] = field(default_factory=set)  # kind, lane, owner
    held: set[str] = field(default_factory=set)  # lanes
    lanes: dict[str, Fact] = field(default_factory=dict)
    owners: dict[str, dict[str, Fact]] = field(default_factory=dict)  # of lanes in which something waits, or did

    @classmethod
    def look(cls, tx: Connection, now: datetime, slots: int) -> "Standing":
        """Of what has no needs, what waits for at most so many slots."""
        found = cls()
        for row in tx.execute(_ALL, {"now": now, "slots": slots}):
            found._take(*row)
        return found

    def _take(self, what: str, lane: str, owner: str, kind: str, virtual: float, backlogged: bool) -> None:
        if what == "lane":
            self.lanes[lane] = Fact(virtual, bool(backlogged))
        elif what == "owner":
            self.owners.setdefault(lane, {})[owner] = Fact(virtual, bool(backlogged))
        elif what == "needy":
            self.needy.add((kind, lane, owner))
        elif what == "held":
            self.held.add(lane)
        else:
            (self.steps if what == "step" else self.tasks).add((lane, owner))

    @property
    def pairs(self) -> set[Pair]:
        """Who has something for slots alone; also of lanes that are held."""
        return self.steps | self.tasks
