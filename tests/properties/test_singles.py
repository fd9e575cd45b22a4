"""Tasks queued one by one are walked over heaps, arrays in closed form: both order the same machines."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.demand import Row
from schedules.expansion import expand, sources
from schedules.model import Pool
from schedules.placement import Room, merged
from schedules.windows import hours

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
SECOND = 1_000_000
seconds = st.integers(1, 600).map(lambda n: n * SECOND + n)  # a little apart: who is first among equals does not matter


@st.composite
def rows(draw):
    found = draw(
        st.lists(st.tuples(st.integers(-200, 400), seconds), min_size=1, max_size=12, unique_by=lambda row: row[1])
    )
    made = [Row(1, due * SECOND, length, 1, str(n)) for n, (due, length) in enumerate(found)]
    return sorted(made, key=lambda row: (row.due, row.predicted))


@st.composite
def rooms(draw):
    ready = [Room(0, 1, draw(st.integers(0, 3)), True)]
    booting = [Room(draw(seconds), 1, 1, True) for _ in range(draw(st.integers(0, 3)))]
    busy = [Room(draw(seconds) + 7, 1, 1, False) for _ in range(draw(st.integers(0, 5)))]
    return merged([*ready, *booting, *busy])


def pool(name, price, ceiling, prompt=False):
    return Pool(name, Decimal(price), 1, ceiling, 1, timedelta(seconds=60), timedelta(seconds=70), prompt=prompt)


def asked(found, there, pools):
    offered = sources(pools, {p.name: hours(p, (), NOW) for p in pools}, (), NOW)
    plan = expand(found, there, offered, NOW)
    return sorted((a.pool, a.count) for a in plan.launches), sorted((u.who, u.slots, u.obstacles) for u in plan.unmet)


@given(rows(), rooms(), st.integers(0, 8), st.integers(0, 8))
@settings(max_examples=80, deadline=None)
def test_heaps_and_closed_form_order_the_same(found, there, near, far):
    pools = [pool("near", 1, near), pool("far", 3, far)]
    never = Row(1, 10**12, SECOND, 2, "wide")  # one task of two slots: then all are walked in closed form
    launches, unmet = asked([*found, never], there, pools)
    assert asked(found, there, pools) == (launches, [each for each in unmet if each[0] != "wide"])


@given(rows(), rooms())
@settings(max_examples=80, deadline=None)
def test_where_waiting_ends_when_a_task_is_due_each_has_a_slot_that_is_certain(found, there):
    launches, unmet = asked(found, there, [pool("near", 1, 100, prompt=True)])
    certain = sum(room.copies for room in there if room.certain)
    overdue = sum(row.due <= 0 for row in found)
    assert sum(count for _, count in launches) >= overdue - certain
    assert not unmet
