"""Executors that are as their pool was when they were ordered: they have not what new ones have since.

Below a ceiling that hurts nobody. At it what needs the new would wait for ever behind work that the old ones do too.
"""

from collections.abc import Iterable, Mapping, Sequence

from schedules.expansion import Source
from schedules.model import Drain, Executor, Pool, Retire
from schedules.needs import Needs, lacking, times
from schedules.words import plural


def older(needs: Needs, pool: Pool, executors: Iterable[Executor]) -> list[Executor]:
    """Those of the pool that could never run such a task, though new ones could."""
    if lacking(needs, pool.offer):
        return []
    return [e for e in executors if e.pool == pool.name and lacking(needs, e.offer)]


def make_way(
    kinds: Mapping[Needs, str], pools: Sequence[Source], executors: Sequence[Executor]
) -> list[Retire | Drain]:
    """Who goes for kinds of tasks that nobody here could ever run, and for whom no pool has room: as few as are in the
    way, empty ones first. `kinds`: what is said of who waits."""
    found: dict[str, Retire | Drain] = {}
    for needs, who in kinds.items():
        there = [e for e in executors if e.state != "draining" and e.id not in found]
        able = [source for source in pools if source.able(needs.slots) and _new_ones(needs, source)]
        if any(_could(needs, e) for e in there) or any(source.room >= source.size(needs.slots) for source in able):
            continue
        for source in able[:1]:
            found |= {act.executor: act for act in _in_the_way(needs, who, source, executors, found)}
    return [*found.values()]


def _in_the_way(
    needs: Needs, who: str, source: Source, executors: Sequence[Executor], going: Mapping[str, Retire | Drain]
) -> list[Retire | Drain]:
    pool, old = source.pool, older(needs, source.pool, executors)
    mine = [e for e in executors if e.pool == pool.name]
    room = source.room + sum(e.slots for e in mine if e.state == "draining" or e.id in going)
    acts: list[Retire | Drain] = []
    why = f"{who} needs what pool {pool.name} has only since it was ordered, and the pool is at its ceiling"
    stays = [e for e in old if e.state != "draining" and e.id not in going]
    for e in sorted(stays, key=lambda e: (e.busy_slots, e.state == "ready", e.since, e.id)):
        if room >= source.size(needs.slots):
            break
        acts.append(Drain(e.id, why) if e.busy_slots else Retire(e.id, why))
        room += e.slots
    return acts if room >= source.size(needs.slots) else []


def said(needs: Needs, pools: Iterable[Source], executors: Sequence[Executor]) -> str:
    """What is to be added to why such a task waits; empty where none is in its way."""
    found = [e for source in pools for e in older(needs, source.pool, executors)]
    if not found:
        return ""
    are, make = ("is", "makes") if len(found) == 1 else ("are", "make")
    return f"; {plural(len(found), 'executor')} there {are} from before it had that, and {make} way"


def _new_ones(needs: Needs, source: Source) -> bool:
    return times(needs, source.pool.offer, source.size(needs.slots), {}) > 0


def _could(needs: Needs, e: Executor) -> bool:
    return times(needs, e.offer, e.slots, {}) > 0
