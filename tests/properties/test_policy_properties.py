"""What holds for every decision, whatever the farm looks like. Snapshots are drawn, applied and asked again."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schedules.model import (
    Busy,
    Demand,
    Drain,
    Executor,
    Hours,
    Launch,
    Pool,
    Retire,
    Snapshot,
    Waiting,
    Window,
)
from schedules.policy import default
from schedules.windows import hours

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
S = timedelta(seconds=1)
NAMES = ("one", "two", "three")
quick = settings(max_examples=50, deadline=None)
seconds = st.integers(0, 900).map(lambda n: n * S)


@st.composite
def pools(draw):
    boot = draw(st.sampled_from([1, 9, 60, 240])) * S
    return Pool(
        "pool",
        Decimal(draw(st.integers(0, 9))) / 10,
        slots := draw(st.integers(1, 4)),
        draw(st.integers(0, 40)),
        slots + draw(st.integers(0, 8)),
        boot,
        boot * draw(st.sampled_from([1, 1.5, 3])),
        draw(st.sampled_from([0, 0, 1, 3])),
        draw(st.none() | seconds),
        draw(st.sampled_from([0, 0, 60])) * S,
        draw(st.sampled_from([None, None, NOW - S, NOW + 60 * S])),
        closed := draw(st.sampled_from(["", "", "", "held", "spending"])),
        closed and "somebody said so",
    )


@st.composite
def executors(draw, farm):
    pool = draw(st.sampled_from(farm))
    slots = draw(st.integers(pool.slots, pool.max_slots))
    state = draw(st.sampled_from(["ordered", "booting", "ready", "ready", "ready", "draining"]))
    busy = draw(st.integers(0, slots)) if state in ("ready", "draining") else 0
    age = draw(seconds)
    idle = NOW - min(age, draw(seconds)) if state == "ready" and not busy else None
    kept = draw(st.sampled_from([0, slots])) if state == "ready" and 0 < busy < slots else 0
    return Executor("", pool.name, state, slots, busy, NOW - age, idle, kept, "1" if kept else "")


rows = st.builds(
    lambda count, due, predicted, slots, who: Waiting(count, NOW - 900 * S, NOW + due * S, predicted * S, slots, who),
    st.sampled_from([1, 1, 2, 3, 8, 50, 1_000_000]),
    st.integers(-900, 900),
    st.sampled_from([0, 0.01, 2, 30, 600, 36_000]),
    st.sampled_from([1, 1, 1, 2, 5, 13]),
    st.sampled_from(["1", "2", "3"]),
)


@st.composite
def snapshots(draw, waiting=st.lists(rows, max_size=4), windows=True):
    farm = [replace(draw(pools()), name=name) for name in NAMES[: draw(st.integers(1, 3))]]
    there = [replace(e, id=f"e{n}") for n, e in enumerate(draw(st.lists(executors(farm), max_size=8)))]
    running = [Busy(NOW + draw(st.integers(-60, 900)) * S, e.busy_slots, e.id) for e in there if e.busy_slots]
    schedule = draw(st.lists(openings(), max_size=2)) if windows else ()
    demand = (Demand("default", tuple(draw(waiting)), tuple(running)),)
    return Snapshot(NOW, (), tuple(farm), tuple(there), demand, tuple(schedule))


@st.composite
def openings(draw):
    said = Hours(
        draw(st.none() | st.integers(0, 3)),
        draw(st.none() | st.integers(0, 20)),
        draw(st.none() | seconds),
        draw(st.none() | st.decimals(0, 1, places=2)),
    )
    start, end = draw(st.integers(0, 23)), draw(st.integers(0, 23))
    zone = draw(st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
    return Window("w", zone, frozenset(range(7)), time(start), time(end), {draw(st.sampled_from(NAMES)): said})


def of(decision, kind):
    return [act for act in decision.actions if isinstance(act, kind)]


def applied(seen, decision, now=None):
    """The farm right afterwards: what was launched is ordered, what leaves is draining."""
    leaving = {act.executor for act in of(decision, Drain | Retire)}
    there = [replace(e, state="draining") if e.id in leaving else e for e in seen.executors]
    for place, act in enumerate(of(decision, Launch)):
        ids = (f"new{place}-{n}-{len(there)}" for n in range(act.count))
        there += [Executor(id, act.pool, "ordered", act.slots, 0, seen.now) for id in ids]
    return replace(seen, executors=tuple(there), now=now or seen.now)


def slots(executors, pool):
    return sum(e.slots for e in executors if e.pool == pool.name)


def open_hours(seen):
    return [(pool, hours(pool, seen.schedule, seen.now)) for pool in seen.pools]


@given(snapshots())
@quick
def test_the_same_snapshot_gives_the_same_decision(seen):
    assert default(seen) == default(replace(seen))


@given(snapshots(), st.randoms())
@quick
def test_the_order_in_which_executors_and_rows_are_listed_does_not_matter(seen, dice):
    there, waiting = list(seen.executors), list(seen.demand[0].waiting)
    dice.shuffle(there)
    dice.shuffle(waiting)
    mixed = replace(seen, executors=tuple(there), demand=(replace(seen.demand[0], waiting=tuple(waiting)),))
    assert Counter(default(mixed).actions) == Counter(default(seen).actions)


@given(snapshots())
@quick
def test_only_empty_executors_are_retired_and_each_is_told_once(seen):
    decision, by_id = default(seen), {e.id: e for e in seen.executors}
    told = [act.executor for act in of(decision, Drain | Retire)]
    assert len(told) == len(set(told))
    assert all(by_id[id].state != "draining" for id in told)
    assert all(by_id[act.executor].busy_slots == 0 for act in of(decision, Retire))


@given(snapshots())
@quick
def test_the_busy_drain_only_above_a_ceiling_and_down_to_it(seen):
    decision, by_id = default(seen), {e.id: e for e in seen.executors}
    drained = {by_id[act.executor].pool for act in of(decision, Drain)}
    over = {
        p.name
        for p, h in open_hours(seen)
        if slots([e for e in seen.executors if e.state != "draining"], p) > h.ceiling
    }
    assert drained <= over | closed(seen)
    after = [e for e in applied(seen, decision).executors if e.state != "draining"]
    assert all(slots(after, pool) <= max(h.ceiling, 0) for pool, h in open_hours(seen) if pool.name in over)


def closed(seen):
    return {pool.name for pool in seen.pools if pool.closed}


@given(snapshots())
@quick
def test_a_closed_pool_orders_nothing_and_keeps_nobody(seen):
    decision = default(seen)
    assert not closed(seen) & {act.pool for act in of(decision, Launch)}
    left = [e for e in applied(seen, decision).executors if e.pool in closed(seen)]
    assert all(e.state == "draining" for e in left)


@given(snapshots())
@quick
def test_nothing_is_launched_above_a_ceiling(seen):
    after = applied(seen, default(seen)).executors
    assert all(slots(after, p) <= max(h.ceiling, slots(seen.executors, p)) for p, h in open_hours(seen))


@given(snapshots())
@quick
def test_nothing_is_launched_while_a_breaker_is_open(seen):
    shut = {p.name for p in seen.pools if p.breaker_open_until and p.breaker_open_until > NOW}
    assert not shut & {act.pool for act in of(default(seen), Launch)}


@given(snapshots())
@quick
def test_executors_are_of_a_size_the_pool_gives(seen):
    by_name = {p.name: p for p in seen.pools}
    sizes = [(by_name[act.pool], act.slots) for act in of(default(seen), Launch)]
    assert all(pool.slots <= size <= pool.max_slots for pool, size in sizes)


@given(snapshots())
@quick
def test_floors_are_kept_when_there_is_room(seen):
    after = applied(seen, default(seen)).executors
    for pool, found in open_hours(seen):
        alive = [e for e in after if e.pool == pool.name and e.state != "draining"]
        before = [e for e in seen.executors if e.pool == pool.name and e.state != "draining"]
        full = slots(after, pool) + pool.slots > found.ceiling
        shut = pool.breaker_open_until and pool.breaker_open_until > NOW
        if pool.closed:
            continue
        assert len(alive) >= found.floor or full or (shut and len(alive) == len(before))


@given(snapshots())
@quick
def test_what_was_decided_is_enough(seen):
    """Asked again with nothing changed but its own doing, it orders nothing more and takes nothing of it back."""
    after = applied(seen, default(seen))
    again = default(after)
    assert of(again, Launch | Drain) == []
    assert {act.executor for act in again.actions} <= {e.id for e in seen.executors}
    assert default(applied(after, again)).actions == ()


@given(snapshots(windows=False))
@quick
def test_no_more_executors_than_tasks_and_floors(seen):
    ordered = sum(act.count for act in of(default(seen), Launch))
    assert ordered <= sum(w.count for w in seen.demand[0].waiting) + sum(p.floor for p in seen.pools)


@given(snapshots(windows=False))
@quick
def test_every_need_is_served_ordered_or_named_unmet(seen):
    """Each waiting row that the decision leaves without a slot ever is named with the pools' reasons."""
    decision = default(seen)
    after = applied(seen, decision)
    there = [e for e in after.executors if e.state != "draining"]
    for row in seen.demand[0].waiting:
        fits = any(e.slots >= row.slots for e in there)
        assert fits or row.who in {unmet.who for unmet in decision.unmet}
    assert all(unmet.why and unmet.slots > 0 for unmet in decision.unmet)


@given(snapshots(windows=False))
@quick
def test_a_paid_minimum_is_used_up_unless_above_a_ceiling(seen):
    by_id, by_name = {e.id: e for e in seen.executors}, {p.name: p for p in seen.pools}
    there = [e for e in seen.executors if e.state != "draining"]
    for act in of(default(seen), Retire):
        e, pool = by_id[act.executor], by_name[by_id[act.executor].pool]
        assert e.since + pool.min_bill <= NOW or slots(there, pool) > pool.ceiling or pool.closed


@given(snapshots(waiting=st.just([]), windows=False))
@quick
def test_without_work_it_comes_to_its_floors_by_looking_again(seen):
    seen = replace(seen, pools=tuple(replace(p, breaker_open_until=None) for p in seen.pools))
    idle = tuple(e if e.state != "ready" else replace(e, busy_slots=0, idle_since=NOW) for e in seen.executors)
    seen = replace(seen, executors=idle, demand=())
    for _ in range(len(idle) + 10):
        decision = default(seen)
        seen = applied(seen, decision, decision.look_again)
        if decision.look_again is None:
            break
    alive = Counter(e.pool for e in seen.executors if e.state != "draining")
    assert decision.look_again is None
    assert all(alive[p.name] <= p.floor for p in seen.pools)


@given(snapshots(waiting=st.just([])), st.integers(0, 99))
@quick
def test_without_work_nothing_changes_before_it_looks_again(seen, percent):
    decision = default(seen)
    later = (decision.look_again - NOW) * percent // 100 if decision.look_again else timedelta(days=1)
    assert default(applied(seen, decision, NOW + later)).actions == ()


@given(snapshots())
@quick
def test_it_looks_again_in_the_future(seen):
    again = default(seen).look_again
    assert again is None or again > NOW


@given(snapshots(waiting=st.lists(rows, min_size=1, max_size=1), windows=False), st.integers(1, 100))
@quick
def test_more_of_the_same_never_orders_less(seen, more):
    row = seen.demand[0].waiting[0]
    assume(len(seen.pools) == 1)
    longer = replace(seen, demand=(replace(seen.demand[0], waiting=(replace(row, count=row.count + more),)),))
    fewer, greater = (sum(a.count * a.slots for a in of(default(s), Launch)) for s in (seen, longer))
    assert fewer <= greater


@given(snapshots(windows=False), st.integers(-(10**7), 10**7))
@quick
def test_shifting_all_times_changes_nothing(seen, by):
    shift = by * S

    def late(moment):
        return moment + shift if moment else None

    moved = replace(
        seen,
        now=NOW + shift,
        pools=tuple(replace(p, breaker_open_until=late(p.breaker_open_until)) for p in seen.pools),
        executors=tuple(replace(e, since=late(e.since), idle_since=late(e.idle_since)) for e in seen.executors),
        demand=tuple(
            replace(
                d,
                waiting=tuple(replace(w, arrival=late(w.arrival), due=late(w.due)) for w in d.waiting),
                running=tuple(replace(b, predicted_finish=late(b.predicted_finish)) for b in d.running),
            )
            for d in seen.demand
        ),
    )
    assert bare(default(moved)) == bare(default(seen))


def bare(decision):
    """A decision without its words."""
    return [replace(act, why="") for act in decision.actions]


@given(snapshots())
@quick
def test_names_of_jobs_and_lanes_do_not_matter(seen):
    renamed = [replace(d, lane="x", waiting=tuple(replace(w, who="x") for w in d.waiting)) for d in seen.demand]
    plain = [replace(a, who="") if isinstance(a, Launch) else a for a in bare(default(seen))]
    other = [
        replace(a, who="") if isinstance(a, Launch) else a for a in bare(default(replace(seen, demand=tuple(renamed))))
    ]
    assert plain == other
