"""What a provider was asked for lately, what it said, and why no more is asked of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select

from farm import read
from farm import tables as t
from farm.model import OrderState
from farm.tables import AnyRow
from farm.why.answer import Why, at, many
from farm.why.look import Look
from schedules.model import Launch

_TOLD = 5  # orders
_LAST = (
    select(t.Order).where(t.Order.pool == bindparam("p")).order_by(t.Order.created.desc(), t.Order.token).limit(_TOLD)
)
_SAID = {
    OrderState.OPEN: "has not answered yet",
    OrderState.PLACED: "gave them",
    OrderState.REFUSED: "refused",
    OrderState.CLOSED: "was told that they are not wanted any more",
}


def asked(look: Look, name: str, why: Why) -> Why:
    """With the last orders, and what the policy would do now and why no more."""
    rows: Sequence[AnyRow] = look.tx.execute(_LAST, {"p": name}).all()
    coming = sum(a.count for a in look.decision.actions if isinstance(a, Launch) and a.pool == name)
    numbers = {**why.numbers, "asked": [_order(row) for row in rows], "would_order": coming, "no_more": _no_more(look)}
    last = f" {_sentence(rows[0])}" if rows else " Nothing was ever asked of it."
    return replace(why, sentence=f"{why.sentence}{last} {_more(look, name, coming)}", numbers=numbers)


def _order(row: AnyRow) -> dict[str, Any]:
    return {
        "order": row.token,
        "at": read.when(row.created),
        "executors": row.machines,
        "state": row.state,
        "said": row.error,
        "why": row.why,
    }


def _sentence(row: AnyRow) -> str:
    words = f": {row.error}" if row.error else ""
    return f"It was asked for {many(row.machines, 'executor')} at {at(row.created)} and {_SAID[row.state]}{words}."


def _more(look: Look, name: str, coming: int) -> str:
    if coming:
        return f"{many(coming, 'executor')} would be ordered now."
    reasons = _no_more(look)
    if reasons:
        return f"No more are ordered: {reasons[0]}."
    waits = sum(w.count for d in look.seen.demand for w in d.waiting)
    if waits and look.own:
        return f"{many(waits, 'task')} wait{'s' if waits == 1 else ''}, and policy {look.own} orders nothing for them."
    what = f"{many(waits, 'task')} that wait find their slots in time" if waits else "nothing waits"
    return f"No more are ordered: {what}."


def _no_more(look: Look) -> list[str]:
    """The reasons for which work waits without an executor on its way."""
    return list(dict.fromkeys(unmet.why for unmet in look.decision.unmet))[:_TOLD]
