"""Why a pool has as many executors as it has."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, select

from farm import read
from farm import tables as t
from farm.breaker import SOLD_OUT, quota
from farm.fleet import pool_fact
from farm.joining import last_failures
from farm.model import OrderState
from farm.queue import quarantine
from farm.refusal import NotFound
from farm.why.answer import Why, at, change, many
from farm.why.asked import asked
from farm.why.cause import Cause
from farm.why.decided import decided
from farm.why.holding import closed_pool
from farm.why.look import Look
from farm.why.needs import offered
from farm.why.opening import shut_pool
from schedules.model import Pool
from schedules.windows import OpenHours, aimed, hours
from schedules.words import keeps

RECENTLY = timedelta(hours=1)
_NAMED = 5  # executors in one sentence
_LAST_REFUSED = (
    select(t.Order)
    .where(t.Order.pool == bindparam("p"), t.Order.state == OrderState.REFUSED)
    .order_by(t.Order.created.desc())
    .limit(1)
)


def pool(look: Look, name: str) -> Why:
    """Raises NotFound."""
    why = asked(look, name, offered(look, name, _smaller(look, name, _pool(look, name))))
    failures = last_failures(look.tx, name)
    why = decided(look, why, name)
    told = [{**failure, "at": read.when(failure["at"])} for failure in failures]
    why = replace(why, numbers={**why.numbers, "failed_joins": told})
    if not failures or look.now - failures[0]["at"] > RECENTLY:
        return why
    last = failures[0]
    who = f"{last['executor']} on {last['host']}" if last["host"] else last["executor"]
    sentence = f"{why.sentence} The last machine that could not join was {who}, at {at(last['at'])}: {last['what']}."
    return replace(why, sentence=sentence)


def _smaller(look: Look, name: str, why: Why) -> Why:
    """Executors on machines with fewer slots than the pool says take what fits into them."""
    wanted = next(p.slots for p in look.seen.pools if p.name == name)
    small = {e.id: e.slots for e in look.seen.executors if e.pool == name and e.slots < wanted}
    if not small:
        return why
    which = ", ".join(f"{executor} ({slots})" for executor, slots in list(small.items())[:_NAMED])
    more = ", …" if len(small) > _NAMED else ""
    sentence = f"{why.sentence} Fewer than its {many(wanted, 'slot')} each: {which}{more}."
    return replace(why, sentence=sentence, numbers={**why.numbers, "smaller": small})


def _pool(look: Look, name: str) -> Why:
    seen = next((p for p in look.seen.pools if p.name == name), None)
    if seen is None:
        raise NotFound(f"there is no pool {name!r}", remedy=f"there are {', '.join(look.config.pools)}")
    found = aimed(hours(seen, look.seen.schedule, look.now), name, look.seen.executors)
    numbers = _numbers(look, name, found)
    if seen.closed:
        return closed_pool(look, name, Cause.POOL_HELD if seen.closed == "held" else Cause.SPENDING, numbers)
    if found.shut:
        return shut_pool(name, found, numbers, look.now)
    if seen.breaker_open_until and seen.breaker_open_until > look.now:
        return _shut(look, seen, numbers)
    if numbers["quarantined"] >= quarantine.MOST:
        sentence = (
            f"Pool {name}: {many(numbers['quarantined'], 'executor')} were quarantined within the hour; from now on "
            "failing ones are kept, for the tasks are more likely to be bad than the machines."
        )
        rule = f"at most {quarantine.MOST} of a pool are quarantined in an hour"
        return Why(f"pool {name}", "open", Cause.SUSPECTS, rule, sentence, "an hour passes", numbers)
    window = f" in window {found.of('ceiling')}" if found.of("ceiling") else ""
    has = f"Pool {name} has {many(numbers['executors'], 'executor')} with {many(numbers['slots'], 'slot')}"
    following = change(found.until, look.now)
    if found.ceiling - numbers["slots"] < seen.slots:
        sentence = f"{has}, which is all that its ceiling of {found.ceiling}{window} allows."
        return Why(f"pool {name}", "full", Cause.CEILING, "nothing goes above a ceiling", sentence, following, numbers)
    kept = f"{keeps(found, name)}; " if found.floor else ""
    sentence = f"{has}; {kept}ceiling {found.ceiling} slots{window}."
    rule = "backlog and time of day decide"
    return Why(f"pool {name}", "open", Cause.OPEN, rule, sentence, following, numbers)


def _numbers(look: Look, name: str, found: OpenHours) -> dict[str, Any]:
    mine = [e for e in look.seen.executors if e.pool == name]
    refused = look.tx.execute(_LAST_REFUSED, {"p": name}).one_or_none()
    return {
        "executors": len(mine),
        "slots": sum(e.slots for e in mine),
        "busy": sum(e.busy_slots for e in mine),
        "ceiling": found.ceiling,
        "floor": found.floor,
        "idle_target": found.spare,
        "quarantined": quarantine.recent(look.tx, name, look.now),
        "until": read.when(found.until),
        "last_refused": refused.error if refused is not None else None,
    }


def breaking(error: str) -> Cause:
    """Why a breaker is open, by what the provider said."""
    if quota(error):
        return Cause.QUOTA
    return Cause.SOLD_OUT if SOLD_OUT in error else Cause.BREAKER


def _shut(look: Look, seen: Pool, numbers: dict[str, Any]) -> Why:
    fact = pool_fact(look.tx, seen.name)
    until = at(seen.breaker_open_until)
    reason = fact.error or numbers["last_refused"] or "its last order gave less than was asked"
    sentence = f"Pool {seen.name} is not asked before {until}: {reason}."
    rule, cause = "after a failure a pool is left alone for a while, each time for longer", breaking(reason)
    numbers |= {"error": fact.error, "failures": fact.failures, "asked_again": read.when(seen.breaker_open_until)}
    return Why(f"pool {seen.name}", "shut", cause, rule, sentence, f"it is asked again at {until}", numbers)
