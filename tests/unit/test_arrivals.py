"""When people come is learned by hour of the week, and machines are there before they do."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from farm.clock import from_micros, micros
from farm.config import FarmConfig
from farm.simulate.farmer import Farmer
from farm.simulate.pools import Offer
from farm.simulate.score import percentile, play
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World
from schedules.arrivals import HOUR, WEEK, Arrivals, Hour, hour_of_week, next_hour
from schedules.gaps import Gaps
from schedules.model import Launch, Pool, Snapshot
from schedules.policy import default
from schedules.presets import PRESETS

S = timedelta(seconds=1)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
POOL = PRESETS["base"].holds(Pool("pool", Decimal(1), 1, 20, 4, 60 * S, 60 * S))
MINUTE = 60 * SECOND


def office(weeks=3, seed=7):
    """µs at which somebody comes: every two minutes from 9:00 to 12:00 on workdays."""
    draw, found = random.Random(seed), []
    for day in range(7 * weeks):
        at = micros(MONDAY + timedelta(days=day, hours=9))
        end = at + 3 * HOUR
        while day % 7 < 5 and (at := at + round(draw.expovariate(1 / 40) * SECOND)) < end:
            found.append(at)
    return found


def known(weeks=3):
    found = Arrivals()
    found.begin(micros(MONDAY), 60 * S)
    for at in office(weeks):
        found.saw(at, 1)
    return found


def test_hours_of_the_week_begin_on_monday():
    assert hour_of_week(micros(MONDAY)) == 0
    assert hour_of_week(micros(MONDAY - S)) == WEEK - 1
    assert hour_of_week(micros(MONDAY + timedelta(days=2, hours=5, minutes=59))) == 53
    assert next_hour(micros(MONDAY)) == micros(MONDAY) + HOUR


def test_a_quantile_is_what_came_at_most_in_that_part_of_all():
    hour = Hour()
    for came, times in ((0, 70), (1, 15), (2, 10), (9, 5)):
        hour.saw(came, times, 1e9)
    assert [hour.quantile(part) for part in (0.5, 0.7, 0.71, 0.85, 0.9, 0.95, 0.96, 1.0)] == [0, 0, 1, 1, 2, 2, 9, 9]
    assert Hour().quantile(0.8) == 0


def test_what_was_long_ago_is_forgotten():
    hour = Hour()
    for _ in range(100):
        hour.saw(5, 1, 100)
    for _ in range(300):
        hour.saw(0, 1, 100)
    assert hour.quantile(0.8) == 0
    assert hour.total <= 101


def test_nothing_is_expected_before_an_hour_was_seen():
    found = Arrivals()
    found.begin(micros(MONDAY), 60 * S)
    for minute in range(30):
        found.saw(micros(MONDAY) + minute * MINUTE, 3)
    assert found.expected(micros(MONDAY), 0.8) == 0


def test_people_are_expected_when_they_came_before():
    found, monday = known(), micros(MONDAY + timedelta(days=21))
    assert found.expected(monday + 10 * HOUR, 0.8) in (2, 3)  # 1.5 on average
    assert found.expected(monday + 10 * HOUR, 0.5) in (1, 2)
    assert found.expected(monday + 8 * HOUR, 0.8) == 0
    assert found.expected(monday + 13 * HOUR, 0.8) == 0
    assert found.expected(monday + 5 * 24 * HOUR + 10 * HOUR, 0.8) == 0


def test_years_without_anybody_are_passed_over_quickly():
    found = Arrivals()
    found.begin(micros(MONDAY), 9 * S)
    found.saw(micros(MONDAY + timedelta(days=40 * 365)), 1)
    assert found.expected(micros(MONDAY), 0.99) == 0


def test_a_clock_that_was_set_back_counts_nothing_twice():
    found = known(1)
    before = [hour.total for hour in found.hours]
    found.saw(micros(MONDAY), 5)
    assert [hour.total for hour in found.hours] == before


def see(at, **pool):
    return Snapshot(at, PRESETS["base"].lanes, (replace(POOL, **pool),), (), ())


def test_machines_are_ordered_before_anybody_asks_and_not_in_other_hours():
    gaps = Gaps(arrivals=known())
    early = default(gaps.told(see(MONDAY + timedelta(days=21, hours=8))))
    assert early.actions == ()
    (launch,) = default(gaps.told(see(MONDAY + timedelta(days=21, hours=9)))).actions
    assert isinstance(launch, Launch)
    assert launch.count in (2, 3)
    assert "keeps" in launch.why
    assert default(gaps.told(see(MONDAY + timedelta(days=21, hours=13)))).actions == ()


def test_the_floor_and_the_idle_target_of_the_pool_hold_too():
    gaps, at = Gaps(arrivals=known()), MONDAY + timedelta(days=21, hours=9)
    (launch,) = default(gaps.told(see(at, floor=7))).actions
    assert launch.count == 7
    (launch,) = default(gaps.told(see(at, spare=5))).actions
    assert launch.count == 5


def test_other_presets_expect_nobody():
    gaps, at = Gaps(arrivals=known()), MONDAY + timedelta(days=21, hours=9)
    assert default(gaps.told(see(at, ahead=0.0))).actions == ()
    assert all(not preset.ahead for name, preset in PRESETS.items() if name != "base")


def test_whoever_explains_sees_what_the_wheel_saw():
    gaps, at = Gaps(arrivals=known()), MONDAY + timedelta(days=21, hours=9)
    told = gaps.told(see(at))
    assert gaps.known(see(at)) == told
    assert told.pools[0].spare > 0


def test_a_replay_waits_less_at_base_than_fast_where_people_come_by_the_clock():
    jobs = [Job(n, at, 90 * SECOND, "curl", "eva", "build") for n, at in enumerate(office(2))]
    found = {}
    for name in ("fast", "base"):
        offer = Offer(ceiling=50)
        world = World(jobs, [offer], Farmer(PRESETS[name], {offer.name: offer}, lambda _job: "default"))
        play(world)
        second = [job for job in jobs if job.arrival > micros(MONDAY + timedelta(days=7))]
        late = sorted((world.begun[job.number] - job.arrival) / SECOND for job in second)
        found[name] = (percentile(late, 0.5), percentile(late, 0.95), world.paid)
        assert world.empty_at is not None
    assert found["base"][1] < found["fast"][1]
    assert found["base"][2] < 2 * found["fast"][2]


def test_farm_toml_takes_it(tmp_path):
    config = FarmConfig(policy="base")
    assert config.under_policy(replace(POOL, ahead=0.0)).ahead == PRESETS["base"].ahead
    assert config.all_lanes()["default"].w_max == timedelta()
    assert from_micros(micros(MONDAY)) == MONDAY
