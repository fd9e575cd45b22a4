"""What is left of a budget decides what is ordered; whose money is spent begins nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from farm.config import BadConfig, load
from farm.config_budget import BudgetConfig
from schedules.budgets import affordable, exhausted
from schedules.model import Budget, Demand, Executor, Launch, Pool, Reserve, Retire, Snapshot, Waiting
from schedules.policy import default
from schedules.reserve import Allowed, allowed

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
S = timedelta(seconds=1)
POOL = Pool("pool", Decimal(36), 1, 20, 4, 60 * S, 60 * S, idle=35 * S)  # 0.01 a second; 1.00 for boot and idling
HUNDRED = Budget("b", Decimal(100), Decimal(0))


def see(waiting=(), budgets=(HUNDRED,), pools=(POOL,), executors=(), lane="default"):
    return Snapshot(NOW, (), pools, tuple(executors), (Demand(lane, tuple(waiting)),), budgets=tuple(budgets))


def rows(count=50, predicted=900 * S, slots=1, who="7", owner="ada"):
    return Waiting(count, NOW - 60 * S, NOW - 60 * S, predicted, slots, who, owner=owner)


def ordered(decision):
    return sum(act.count * act.slots for act in decision.actions if isinstance(act, Launch))


def test_no_more_is_ordered_than_what_is_left_pays_for():
    decision = default(see([rows()]))  # 1 + 9 each
    assert ordered(decision) == 10
    (left,) = decision.unmet
    assert (left.who, left.slots, left.obstacles) == ("7", 40, ("budget",))
    assert left.why == "what is left of budget b of 100.00 pays for no more"


def test_machines_are_paid_whole_and_shared_by_the_tasks_that_run_side_by_side():
    wide = replace(POOL, slots=4, max_slots=4)
    assert ordered(default(see([rows()], pools=[wide]))) == 20  # (100 - 5 · 1) ÷ (9 ÷ 4) tasks would fit
    assert ordered(default(see([rows()], [replace(HUNDRED, spent=Decimal("80.5"))], [wide]))) == 8  # 1 + 9, 1 + 8.5
    assert ordered(default(see([rows(slots=3)], [replace(HUNDRED, spent=Decimal(80))], [wide]))) == 8


def test_what_is_bound_is_not_left():
    bound = replace(HUNDRED, spent=Decimal(60), bound=Decimal(20))
    decision = default(see([rows()], [bound]))
    assert ordered(decision) == 2
    assert not exhausted(bound)
    assert exhausted(replace(bound, bound=Decimal(40)))


def test_one_task_may_exceed_it_by_its_own_price_and_by_no_machine_more():
    long = rows(predicted=timedelta(hours=9))
    assert ordered(default(see([long]))) == 1
    assert ordered(default(see([long], [replace(HUNDRED, spent=Decimal("98.9"))]))) == 1
    assert ordered(default(see([long], [replace(HUNDRED, spent=Decimal(99))]))) == 0


def test_spent_is_spent():
    decision = default(see([rows()], [replace(HUNDRED, spent=Decimal("100.5"), until=NOW + timedelta(hours=14))]))
    assert decision.actions == ()
    assert decision.unmet[0].why == "budget b of 100.00 is spent; the next begins at 2026-03-03 00:00 UTC"


def test_nobody_stays_idle_for_work_that_is_not_paid():
    idle = Executor("e", "pool", "ready", 1, 0, NOW - 900 * S, NOW - 50 * S)
    broke = replace(HUNDRED, spent=Decimal(100))
    assert [type(act) for act in default(see([rows()], [broke], executors=[idle])).actions] == [Retire]
    assert default(see([rows(1)], executors=[idle])).actions == ()


@pytest.mark.parametrize(
    ("owner", "lane", "pays"),
    [("", "", True), ("ada", "", True), ("bob", "", False), ("", "bulk", False), ("ada", "default", True)],
)
def test_whose_work_it_is(owner, lane, pays):
    budget = replace(HUNDRED, spent=Decimal(100), owner=owner, lane=lane)
    assert ordered(default(see([rows()], [budget]))) == (0 if pays else 20)
    assert allowed(see(budgets=[budget])) == Allowed(frozenset(), 0, ((owner, lane),))
    assert allowed(see(budgets=[budget])).pays("ada", "default") is not pays


def test_work_is_charged_to_each_budget_that_it_belongs_to():
    mine, all_of_it = replace(HUNDRED, name="mine", owner="ada", spent=Decimal(60)), HUNDRED
    decision = default(see([rows(50), rows(50, owner="bob", who="8")], [mine, all_of_it]))
    assert ordered(decision) == 10
    assert {u.who: u.slots for u in decision.unmet} == {"7": 46, "8": 44}


def test_the_earliest_due_are_paid_first():
    early = replace(rows(3, owner="bob", who="8"), due=NOW - 900 * S)
    seen, _ = affordable(see([rows(50), early]))
    assert [(w.who, w.count) for d in seen.demand for w in d.waiting] == [("7", 7), ("8", 3)]


def test_where_nothing_costs_anything_nothing_is_kept_back():
    free = replace(POOL, price_per_hour=Decimal(0))
    assert ordered(default(see([rows()], pools=[free]))) == 20
    assert ordered(default(see([rows()], [replace(HUNDRED, amount=Decimal(0))], pools=[free]))) == 0


def test_beside_a_reserve():
    seen = replace(see([rows()], lane="bulk"), reserve=Reserve(15, 0.0, frozenset({"bulk"})))
    assert ordered(default(seen)) == 5
    broke = replace(seen, budgets=(replace(HUNDRED, spent=Decimal(100)),))
    assert allowed(broke) == Allowed(frozenset({"bulk"}), 5, (("", ""),))


@pytest.mark.parametrize(
    ("period", "zone", "now", "since", "until"),
    [
        ("day", "UTC", "2026-03-02T10:00", "2026-03-02T00:00", "2026-03-03T00:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25
        ("day", "Pacific/Auckland", "2026-03-02T11:30", "2026-03-02T11:00", "2026-03-03T11:00"),
        ("week", "UTC", "2026-03-08T23:59", "2026-03-02T00:00", "2026-03-09T00:00"),
        ("month", "UTC", "2026-02-28T10:00", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("month", "UTC", "2026-12-31T10:00", "2026-12-01T00:00", "2027-01-01T00:00"),
    ],
)
def test_periods_begin_at_midnight_of_their_zone(period, zone, now, since, until):
    budget = BudgetConfig(amount=Decimal(1), period=period, zone=zone)
    moment = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, since, until)]
    assert budget.span(moment[0]) == (moment[1], moment[2])
    assert budget.span(moment[1]) == (moment[1], moment[2])


def test_a_budget_for_ever_has_no_next():
    since, until = BudgetConfig(amount=Decimal(1), period="ever").span(NOW)
    assert since < NOW
    assert until is None


def test_farm_toml(tmp_path):
    path = tmp_path / "farm.toml"
    path.write_text('[budgets.night]\namount = 20.00\nowner = "ada"\nlane = "bulk"\nperiod = "day"\n')
    assert load(path).budgets["night"].amount == Decimal(20)
    for wrong, said in (
        ('lane = "bulky"', "there is no lane 'bulky'"),
        ("amount = -1", "amount"),
        ('period = "year"', "period"),
        ('zone = "Mars/Olympus"', "zone"),
        ("limit = 1", "unknown key"),
    ):
        first = "" if wrong.startswith("amount") else "amount = 1\n"
        path.write_text(f"[budgets.night]\n{first}{wrong}\n")
        with pytest.raises(BadConfig, match=said):
            load(path)
    path.write_text("[budgets.night]\n")
    with pytest.raises(BadConfig, match="amount"):
        load(path)


@pytest.mark.parametrize(
    ("period", "lane", "jobs", "good"),
    [
        ("month", "bulk", "30d", False),
        ("month", "bulk", "31d", True),
        ("week", "bulk", "7d", True),
        ("ever", "bulk", "9000d", False),
        ("ever", "", "1d", True),
    ],
)
def test_what_a_lane_has_spent_is_not_forgotten_with_its_jobs(tmp_path, period, lane, jobs, good):
    """The bill does not say in which lane a job was."""
    path = tmp_path / "farm.toml"
    path.write_text(f'[budgets.b]\namount = 1\nperiod = "{period}"\nlane = "{lane}"\n[keep]\njobs = "{jobs}"\n')
    if good:
        assert load(path).budgets["b"].period == period
    else:
        with pytest.raises(BadConfig, match="jobs are forgotten before"):
            load(path)
