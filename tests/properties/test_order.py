"""What the order promises, in numbers: nobody waits behind another's large job, nothing for longer than stated."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.config import FarmConfig
from schedules.model import Lane
from schedules.ordering import Rival, given_before, overtakes_within, paths
from tests.properties.order_farm import OrderFarm, Start, Task, campaign, makespan

LANES = FarmConfig().all_lanes()
MINUTE = 60.0
GRAPH = json.loads(Path(__file__).with_name("fourteen_packages.json").read_text())
SECONDS: dict[str, float] = {name: float(s) for name, s in GRAPH["seconds"].items()}
AFTER: dict[str, list[str]] = GRAPH["after"]


def waits(starts: list[Start], owner: str) -> list[float]:
    return [start.wait for start in starts if start.task.owner == owner]


@pytest.mark.parametrize("comes", [0.0, 37.0, 1000.5])
def test_ten_tasks_behind_anothers_ten_thousand_wait_less_than_two_lengths(comes: float) -> None:
    large = [Task("ada", MINUTE) for _ in range(10_000)]
    farm = OrderFarm(8, LANES)
    farm.run([*large, *(Task("bob", MINUTE, arrival=comes) for _ in range(10))], until=comes + 10 * MINUTE)
    bob = waits(farm.starts, "bob")
    assert len(bob) == 10
    assert median(bob) < 2 * MINUTE


def test_of_two_that_both_have_work_each_gets_half_of_the_time_over_500_tasks() -> None:
    tasks = [Task("ada", 30.0) for _ in range(5000)] + [Task("bob", 7.0) for _ in range(5000)]
    farm = OrderFarm(4, LANES)
    farm.run(tasks, until=2400)
    given_s = Counter[str]()
    for start in farm.starts[:500]:
        given_s[start.task.owner] += int(start.task.length)
    assert 0.475 <= given_s["ada"] / given_s.total() <= 0.525


def test_whoever_was_away_gets_half_from_then_on_and_nothing_for_the_past() -> None:
    tasks = [Task("ada", 30.0) for _ in range(5000)] + [Task("bob", 7.0)]
    farm = OrderFarm(4, LANES)
    farm.run([*tasks, *(Task("bob", 7.0, arrival=6000) for _ in range(3000))], until=8400)
    given_s = Counter[str]()
    for start in [start for start in farm.starts if start.at >= 6000][:500]:
        given_s[start.task.owner] += int(start.task.length)
    assert 0.475 <= given_s["ada"] / given_s.total() <= 0.525


def test_so_they_do_by_weight_and_in_lanes() -> None:
    tasks = [
        Task(o, 5.0 + n, lane) for lane in ("bulk", "interactive") for n, o in enumerate("ab") for _ in range(5000)
    ]
    farm = OrderFarm(4, LANES, {"a": 3.0})
    farm.run(tasks, until=3000)
    given_s = Counter[tuple[str, str]]()
    for start in farm.starts[:1000]:
        given_s[start.task.lane, start.task.owner] += int(start.task.length)
    shares = {pair: s / given_s.total() for pair, s in given_s.items()}
    right = {("bulk", "a"): 0.15, ("bulk", "b"): 0.05, ("interactive", "a"): 0.6, ("interactive", "b"): 0.2}
    assert shares == pytest.approx(right, rel=0.05)


@pytest.mark.parametrize(
    ("owner", "lane", "comes"),
    [
        ("bob", "default", 100 * MINUTE),  # another's, at any time
        ("ada", "interactive", 100 * MINUTE),  # in another lane, at any time
        ("ada", "default", 14 * MINUTE),  # the same owner's in the same lane, as long as the due dates say so
        ("ada", "bulk", 100 * MINUTE),
    ],
)
def test_a_minute_behind_three_thousand_half_hours_is_next(owner: str, lane: str, comes: float) -> None:
    long = [Task("ada", 30 * MINUTE, arrival=n * 0.01) for n in range(3000)]
    farm = OrderFarm(4, LANES)
    farm.run([*long, Task(owner, MINUTE, lane, comes)], until=comes + 40 * MINUTE)
    after = [start for start in farm.starts if start.at >= comes]
    assert after[0].task.length == MINUTE


def test_as_long_as_the_due_dates_say_so_is_fourteen_and_a_half_minutes() -> None:
    lane = LANES["default"]
    assert overtakes_within(lane, second(60), lane, second(1800)).total_seconds() == 870


lengths = st.sampled_from([1.0, 20.0, 60.0, 600.0, 7200.0])
lane_names = st.sampled_from(sorted(LANES))


@settings(max_examples=150, deadline=None)
@given(
    lengths, lengths, lane_names, st.integers(-100, 100), st.integers(-100, 100), st.floats(0, 90_000), st.booleans()
)
def test_priority_overtakes_by_the_stated_bound_and_no_more(
    long: float, short: float, lane: str, before: int, behind: int, apart: float, exact: bool
) -> None:
    """The later of two of one owner goes first if it comes within the bound, and not a moment later."""
    limit = overtakes_within(LANES[lane], second(short), LANES[lane], second(long), behind - before).total_seconds()
    if exact and limit > 1:
        apart = limit - 0.5
    first, late = Task("ada", long, lane, 1, before), Task("ada", short, lane, 1 + apart, behind)
    farm = OrderFarm(1, LANES)
    farm.run([Task("ada", apart + 2, lane), first, late])
    assert len(farm.starts) == 3
    if abs(apart - limit) > 0.001:
        assert (farm.starts[1].task is late) == (apart < limit)


def second(n: float) -> timedelta:
    return timedelta(seconds=n)


def test_a_hundred_points_are_ten_hours() -> None:
    lane = LANES["default"]
    assert overtakes_within(lane, second(60), lane, second(60), 100).total_seconds() == 36_000
    assert overtakes_within(lane, second(60), lane, second(60), 1000).total_seconds() == 72_000  # 100 against -100
    assert overtakes_within(lane, second(60), lane, second(60)).total_seconds() == 0


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Task], int]:
    """Owners with a great deal of work in some lanes, and one task whose wait is looked at, which comes later."""
    pairs = draw(st.lists(st.tuples(lane_names, st.sampled_from("abcd")), min_size=1, max_size=6, unique=True))
    tasks = [
        Task(owner, length, lane, arrival, priority)
        for lane, owner in pairs
        for length, n, priority in [(draw(lengths), draw(st.integers(1, 60)), draw(st.integers(-100, 100)))]
        for arrival in (draw(st.sampled_from([0.0, 50.0, 5000.0])),)
        for _ in range(n)
    ]
    return tasks, draw(st.integers(1, 6))


@settings(max_examples=100, deadline=None)
@given(crowds(), lengths, lane_names, st.sampled_from([0.0, 100.0, 20_000.0]), st.integers(-100, 100))
def test_nothing_waits_longer_than_its_stated_bound(
    crowd: tuple[list[Task], int], length: float, lane: str, comes: float, priority: int
) -> None:
    tasks, slots = crowd
    mine = Task("a", length, lane, comes + 0.25, priority)
    weights = {"a": 2.0, "b": 0.5}
    farm = OrderFarm(slots, LANES, weights)
    farm.run([*tasks, mine])
    start = next(start for start in farm.starts if start.task is mine)
    assert start.wait <= bound(farm.starts, start, weights, slots) + 1e-6


def bound(starts: list[Start], mine: Start, weights: dict[str, float], slots: int) -> float:
    """As docs/ordering.md states it: of the work ahead of it that its own owner has, and of everybody's weights."""
    me = mine.task
    own = [s for s in starts if (s.task.lane, s.task.owner) == (me.lane, me.owner)]
    ahead = sum(s.task.length for s in own if me.arrival <= s.at <= mine.at and s is not mine)
    longest: dict[str, dict[str, float]] = {}
    for s in starts:
        of = longest.setdefault(s.task.lane, {})
        of[s.task.owner] = max(of.get(s.task.owner, 0.0), s.task.length)
    owners = {o: Rival(weights.get(o, 1.0), s) for o, s in longest[me.lane].items()}
    lanes = {name: Rival(LANES[name].weight, max(of.values())) for name, of in longest.items()}
    in_lane = given_before(ahead, owners.pop(me.owner), owners.values())
    in_all = given_before(in_lane, lanes.pop(me.lane), lanes.values())
    return in_all / slots + max(s.task.length for s in starts)


def test_the_packages_take_no_longer_than_by_their_longest_paths() -> None:
    assert len(SECONDS) == 14
    assert sum(len(before) for before in AFTER.values()) == 11
    for slots in (2, 4, 8):
        best = makespan(campaign(SECONDS, AFTER, slots, only="path"), SECONDS)
        assert makespan(campaign(SECONDS, AFTER, slots), SECONDS) <= 1.05 * best
    assert makespan(campaign(SECONDS, AFTER, 4, only="path"), SECONDS) == 83
    assert max(paths(SECONDS, AFTER).values()) == 77  # attr, acl, rsync: no number of slots is quicker


def test_nothing_waits_for_a_whole_level() -> None:
    """No waves: what is ready starts while others of its level still run."""
    starts = campaign(SECONDS, AFTER, 4)
    first_level = [starts[name] + s for name, s in SECONDS.items() if name not in AFTER]
    assert starts["acl"] < starts["libbsd"] < max(first_level)
    assert all(starts[name] >= starts[b] + SECONDS[b] for name, before in AFTER.items() for b in before)


def test_a_large_graph_is_quick_and_its_short_tasks_too() -> None:
    """Half and half: nearly as short as by longest paths alone, and far better for the short ones."""
    graph = {f"p{n}": 10.0 + n * 7919 % 600 for n in range(800)}
    after = {f"p{n}": {f"p{n * 31 % n}", f"p{n // 2}"} for n in range(1, 800) if n % 3}
    noisy = {name: s * (0.6 + 0.1 * (n % 9)) for n, (name, s) in enumerate(graph.items())}
    mixed = campaign(graph, after, 32, noisy)
    alone = campaign(graph, after, 32, noisy, only="path")
    assert makespan(mixed, graph) <= 1.05 * makespan(alone, graph)
    assert mean(mixed.values()) <= 0.8 * mean(alone.values())


def test_lanes_can_be_anything() -> None:
    """A lane that lets nothing wait is served in the order of arrival."""
    assert overtakes_within(Lane("x"), second(1), Lane("x"), second(9000)).total_seconds() == 0
