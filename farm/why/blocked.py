"""Work that would have a slot if its host were not quarantined."""

from typing import Any

from sqlalchemy import bindparam, select

from farm import tables as t
from farm.model import ExecutorState
from farm.tables import AnyRow
from farm.why.answer import Why, many
from farm.why.cause import Cause
from farm.why.look import Look

_QUARANTINED = (
    select(t.Executor)
    .where(t.Executor.state == ExecutorState.DRAINING, t.Executor.quarantined.is_not(None))
    .where(t.Executor.slots >= bindparam("n"))
    .order_by(t.Executor.quarantined, t.Executor.id)
)


def blocked_host(look: Look, about: str, state: str, step: AnyRow, numbers: dict[str, Any]) -> Why | None:
    """None where no host with a free place for it is quarantined."""
    free = {e.id: e.slots - e.busy_slots for e in look.seen.executors}
    rows = look.tx.execute(_QUARANTINED, {"n": step.slots}).all()
    found = [row for row in rows if free.get(row.id, 0) >= step.slots]
    if not found:
        return None
    first = found[0]
    told = first.why.removeprefix("quarantined: ")
    sentence = (
        f"{about[0].upper()}{about[1:]} waits: {many(free[first.id], 'free slot')} of {first.id} "
        f"{'is' if free[first.id] == 1 else 'are'} not used, for {first.id} is quarantined: {told}."
    )
    rule = "an executor on which tasks of two jobs failed in a row gets no more work, and is replaced when it is empty"
    more = {"blocked": [row.id for row in found], "pool": first.pool}
    return Why(about, state, Cause.BLOCKED_HOST, rule, sentence, f"what runs on {first.id} ends", numbers | more)
