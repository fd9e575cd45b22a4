"""What came to the farm, told to who learns when people come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, bindparam, func, select

from farm import tables as t
from farm.clock import micros
from farm.tables import AnyRow
from schedules.arrivals import Arrivals, cheapest
from schedules.model import Snapshot

RECALLED = timedelta(days=56)  # of what came before the service began
_COLUMNS = select(t.Job.id, t.Job.submitted, t.Job.total).where(t.Job.lane.in_(bindparam("lanes", expanding=True)))
_NEW = _COLUMNS.where(t.Job.id > bindparam("last")).order_by(t.Job.id)
_OLD = _COLUMNS.where(t.Job.submitted >= bindparam("since", type_=t.Utc())).order_by(t.Job.submitted, t.Job.id)
_LAST = select(func.coalesce(func.max(t.Job.id), 0))


@dataclass(slots=True)
class Newcomers:
    """`last`: the newest job that was told."""

    last: int = 0

    def tell(self, tx: Connection, known: Arrivals, seen: Snapshot) -> None:
        """Jobs of lanes in which nobody is to wait; those of the last weeks where nothing is known yet."""
        pool = cheapest(seen)
        if pool is None:
            return
        last: int = tx.execute(_LAST).scalar_one()
        if not known.fits(pool.boot):
            self._recall(tx, known, seen, pool.boot)
        elif last > self.last:
            _learn(known, tx.execute(_NEW, {"last": self.last, "lanes": _lanes(seen)}).all())
        self.last = last

    def _recall(self, tx: Connection, known: Arrivals, seen: Snapshot, boot: timedelta) -> None:
        rows = tx.execute(_OLD, {"since": seen.now - RECALLED, "lanes": _lanes(seen)}).all()
        known.begin(micros(rows[0].submitted if rows else seen.now), boot)
        _learn(known, rows)


def _lanes(seen: Snapshot) -> list[str]:
    return sorted(lane.name for lane in seen.lanes if not lane.w_max)


def _learn(known: Arrivals, rows: Sequence[AnyRow]) -> None:
    for row in rows:
        known.saw(micros(row.submitted), row.total)
