"""Work that waits for more than slots: which amount is missing where, and when it is expected back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from farm import read
from farm.queue.needs import needs_of
from farm.tables import AnyRow
from farm.why.answer import Why, at
from farm.why.cause import Cause
from farm.why.look import Look
from schedules.kinds import back_at, used_on, words
from schedules.model import Executor
from schedules.needs import Needs, said, times

_RULE = "a task begins where all that it needs is free at once"


def could(step: AnyRow, e: Executor) -> bool:
    """Whether a task of the step had room there, were it empty."""
    return times(needs_of(step.needs), e.offer, e.slots, {}) > 0 if step.needs else e.slots >= step.slots


def coming(look: Look, step: AnyRow) -> int:
    """How many executors are on their way that could run a task of the step."""
    return sum(e.state in ("ordered", "booting") and could(step, e) for e in look.seen.executors)


def lacks_amount(look: Look, about: str, state: str, step: AnyRow) -> Why | None:
    """None where no executor there could ever run a task of the step, or one on its way can, or one could now as far as
    amounts go."""
    if not step.needs:
        return None
    needs = needs_of(step.needs)
    able = [e for e in look.seen.executors if e.state == "ready" and could(step, e)]
    if not able or coming(look, step) or any(times(needs, e.offer, e.slots, dict(used_on(e, look.seen))) for e in able):
        return None
    first, back = _soonest(look, needs, able)
    short = _short(look, needs, first)
    used = ", ".join(f"{_used(name, one)} are in use" for name, one in short.items())
    sentence = f"{about[0].upper()}{about[1:]} waits for {words(needs)}: on {first.id}, in pool {first.pool}, {used}."
    following = f"by prediction so much is back at {at(back)}" if back else "what holds it ends"
    numbers = {"executor": first.id, "pool": first.pool, "short": short, "expected_back": read.when(back)}
    return Why(about, state, Cause.AMOUNT, _RULE, sentence, following, numbers)


def _soonest(look: Look, needs: Needs, could: Sequence[Executor]) -> tuple[Executor, datetime | None]:
    backs = [(e, back_at(needs, e, look.seen)) for e in could]
    return min(backs, key=lambda pair: (pair[1] is None, pair[1] or look.now, pair[0].id))


def _short(look: Look, needs: Needs, e: Executor) -> dict[str, dict[str, int]]:
    """Of what there is not enough: {name: {needs, has, used}}."""
    has, used = dict(e.offer.amounts), dict(used_on(e, look.seen))
    return {
        name: {"needs": n, "has": has.get(name, 0), "used": used.get(name, 0)}
        for name, n in needs.amounts
        if name in has and has[name] - used.get(name, 0) < n
    }


def _used(name: str, one: dict[str, int]) -> str:
    return f"{said(name, one['used'])} of {said(name, one['has'])} of {name}"


def offered(look: Look, name: str, why: Why) -> Why:
    """With what the pool's executors have beside slots, and how much of that is in use."""
    pool = next(p for p in look.seen.pools if p.name == name)
    if not pool.offer.amounts:
        return why
    there = [e for e in look.seen.executors if e.pool == name and e.state in ("ready", "draining")]
    amounts: dict[str, dict[str, Any]] = {}
    for kind, n in pool.offer.amounts:
        used = sum(dict(used_on(e, look.seen)).get(kind, 0) for e in there)
        has = sum(dict(e.offer.amounts).get(kind, 0) for e in there)
        amounts[kind] = {"each": n, "has": has, "used": used}
    words_of = ", ".join(_used(kind, one) for kind, one in amounts.items())
    sentence = f"{why.sentence} In use: {words_of}."
    return replace(why, sentence=sentence, numbers={**why.numbers, "amounts": amounts})
