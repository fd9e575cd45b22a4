"""The replay of a recorded day: Farm's own policy, the rules of others, and what `farm simulate` says of them."""

import csv
import json
import random

import pytest

from farm.cli import main
from farm.simulate.contest import Contest
from farm.simulate.farmer import Farmer
from farm.simulate.levels import least
from farm.simulate.peers import PEERS, Static
from farm.simulate.pools import Chance, Offer
from farm.simulate.score import percentile, play
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World
from schedules.presets import PRESETS

HOUR = 3600 * SECOND


def day(*jobs, source="bot", cls="build"):
    """(arrival s, duration s) of jobs of one name."""
    return [Job(n, at * SECOND, took * SECOND, "curl", source, cls) for n, (at, took) in enumerate(jobs)]


def week(count=400, seed=5):
    """Bursts of commits, a few packages each; most builds are short, some take hours."""
    draw, at, found = random.Random(seed), 1_700_000_000, list[Job]()
    names = {f"p{n}": min(20_000, draw.lognormvariate(4, 1.3)) for n in range(60)}
    while len(found) < count:
        at += int(draw.expovariate(1 / 1500))
        for name in draw.sample([*names], draw.choice([1, 1, 2, 8])):
            took = round(names[name] * draw.lognormvariate(0, 0.3) * SECOND)
            found.append(Job(len(found), at * SECOND, took, name, draw.choice(["eva", "bot"]), "build"))
    return found[:count]


def run(jobs, preset="default", offers=(Offer(),), lane=lambda _job: "default", seed=0):
    world = World(jobs, offers, Farmer(PRESETS[preset], {o.name: o for o in offers}, lane), Chance(seed))
    return world, play(world)


def test_one_job_waits_for_one_boot_and_pays_boot_work_and_idling():
    _, found = run(day((100, 100)), "thrifty")
    assert (found["wait_max"], found["launches"], found["peak"]) == (60, 1, 1)
    assert 160 <= found["paid_machine_s"] <= 225
    assert found["zero_after_s"] <= 65


def test_a_machine_is_never_let_go_inside_its_paid_minimum():
    world, found = run(day((0, 1)), "thrifty", (Offer(boot=SECOND, min_bill=600 * SECOND),))
    assert world.empty_at >= 600 * SECOND
    assert 600 <= found["paid_machine_s"] < 602


@pytest.mark.parametrize("preset", PRESETS)
def test_a_week_is_worked_off_within_what_the_preset_promises(preset):
    jobs = week()
    world, found = run(jobs, preset)
    assert len(world.done) == len(jobs)
    assert all(world.done[job.number] - world.begun[job.number] == job.duration for job in jobs)
    work = sum(job.duration for job in jobs)
    assert work + 60 * SECOND <= world.paid <= 2.5 * work  # B0
    assert found["zero_after_s"] <= 60 + 60 * PRESETS[preset].boots_kept + 5
    assert found["wait_max"] <= {"thrifty": 380, "default": 980, "fast": 140, "base": 140}[preset]


def test_thrifty_pays_less_than_fast_and_fast_waits_less():
    jobs = week()
    (_, thrifty), (_, fast) = run(jobs, "thrifty"), run(jobs, "fast")
    assert thrifty["cost_ratio"] < fast["cost_ratio"]
    assert fast["wait_p95"] < thrifty["wait_p95"]


def test_the_same_day_has_the_same_outcome():
    (_, one), (_, two) = (run(week(100), "default", (Offer(spread=0.4),), seed=3) for _ in range(2))
    for measured in ("seconds_to_run", "decision_ms_p99"):
        del one[measured], two[measured]
    assert one == two


def test_the_ceiling_is_never_passed():
    world, found = run(day(*[(0, 500)] * 50), "fast", (Offer(ceiling=7),))
    assert (found["peak"], len(world.done)) == (7, 50)


def test_several_jobs_share_a_machine_of_several_slots():
    _, found = run(day(*[(0, 500)] * 8), "fast", (Offer(slots=4),))
    assert found["launches"] == 2


class Watched(Farmer):
    """Keeps what it predicted."""

    guesses = ()

    def predict(self, job):
        type(self).guesses += (super().predict(job),)
        return self.guesses[-1]


def test_durations_are_learned_and_never_known_before():
    play(
        World(
            day((0, 1000), (5000, 1000)),
            (Offer(),),
            Watched(PRESETS["default"], {"pool": Offer()}, lambda _job: "default"),
        )
    )
    assert Watched.guesses == (60.0, pytest.approx(1000.0))


class Noted(World):
    """Keeps what it sold."""

    sold = ()

    def launch(self, offer, count):
        made = super().launch(offer, count)
        type(self).sold += tuple(machine.offer.name for machine in made)
        return made


def test_a_sold_out_pool_is_passed_over_and_returned_to():
    cheap, dear = Offer("cheap", price=1.0, sold_out=((0, 2 * HOUR),)), Offer("dear", price=3.0)
    jobs = day(*[(0, 600)] * 5, *[(3 * 3600, 600)] * 5)
    found = play(
        Noted(jobs, (cheap, dear), Farmer(PRESETS["fast"], {"cheap": cheap, "dear": dear}, lambda _job: "default"))
    )
    assert Noted.sold == ("dear",) * 5 + ("cheap",) * 5
    assert found["wait_max"] <= 61


def test_machines_that_are_taken_away_lose_no_job():
    jobs = day(*[(n * 100, 900) for n in range(40)])
    world, found = run(jobs, "default", (Offer(loss=1.0),))
    assert len(world.done) == 40
    assert found["paid_machine_s"] > 40 * 900


@pytest.mark.parametrize("name", [name for name in PEERS if name != "static"])
def test_each_peer_works_a_day_off(name):
    jobs = week(150)
    world = World(jobs, (Offer(),), PEERS[name]())
    found = play(world)
    assert len(world.done) == 150
    assert found["cost_ratio"] > 1


def test_peers_pay_for_their_idle_time_outs():
    cost = {name: play(World(week(150), (Offer(),), PEERS[name]()))["cost_ratio"] for name in PEERS if name != "static"}
    _, own = run(week(150), "thrifty")
    assert own["cost_ratio"] < 1.02 * cost["karpenter"] < cost["ray"] < cost["parallelcluster"]


def test_ray_starts_ten_at_most_while_the_cloud_has_not_answered():
    world = World(day(*[(0, 500)] * 64), (Offer(),), PEERS["ray"]())
    play(world)
    assert world.launches == 64
    first = sorted(m for m in world.begun.values())
    assert first[0] < first[-1]  # not all at once: 1, then as many as run


def test_keda_needs_a_poll_to_leave_zero_and_minutes_to_go_back():
    world = World(day((1, 50), (2, 50)), (Offer(),), PEERS["keda"]())
    found = play(world)
    assert found["zero_after_s"] >= 290  # since it saw the last job run


def test_static_machines_stand_from_the_first_job_to_the_last():
    found = play(World(day((0, 100), (1000, 100)), (Offer(),), Static(machines=3)))
    assert found["paid_machine_s"] == 3 * 1100
    assert found["zero_after_s"] is None


def test_lanes_are_found_by_source_then_by_class():
    contest = Contest(day((0, 1)), (Offer(),), {"eva": "interactive"})
    assert contest.lane(Job(0, 0, 1, "x", "eva", "bulk")) == "interactive"
    assert contest.lane(Job(0, 0, 1, "x", "bot", "bulk")) == "bulk"
    assert contest.lane(Job(0, 0, 1, "x", "bot", "build")) == "default"


def test_people_pass_a_mass_of_bulk_work():
    mass, people = day(*[(0, 600)] * 300, cls="bulk"), [(3000 + 700 * n, 30) for n in range(10)]
    jobs = mass + [
        Job(300 + n, at * SECOND, took * SECOND, "x", "eva", "commit") for n, (at, took) in enumerate(people)
    ]
    lane = Contest(jobs, (Offer(),), {"eva": "interactive"}).lane
    _, found = run(jobs, "default", (Offer(ceiling=20),), lane)
    assert found["wait_max_by_class"]["commit"] <= 700  # a running job's end, not the whole row


@pytest.mark.parametrize(("part", "value"), [(0, 1), (0.5, 2), (1, 4), (0.75, 3)])
def test_percentiles_lie_between_two_values(part, value):
    assert percentile([1, 2, 4], part) == value


def test_the_least_without_waiting_keeps_a_machine_over_a_short_gap_only():
    assert least([(0, 100)], 60) == 160
    assert least([(0, 100), (130, 100)], 60) == 290  # 30 s of idling are cheaper than a start
    assert least([(0, 100), (1000, 100)], 60) == 320
    assert least([(0, 100), (50, 100)], 60) == 320
    assert least([(0, 100), (100, 100)], 60) == 260  # the second takes over


def write(path, jobs):
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["arrival", "duration", "name", "source", "cls"])
        out.writerows([j.arrival / SECOND, j.duration / SECOND, j.name, j.source, j.cls] for j in jobs)
    return str(path)


@pytest.fixture
def asked(tmp_path, capsys):
    """Exit status, stdout and stderr of the command on a trace."""

    def typed(jobs, *words):
        status = main(["simulate", write(tmp_path / "week.csv", jobs), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return typed


def test_the_command_prints_the_numbers_of_all(asked):
    status, out, _ = asked(week(60), "--preset", "all", "--against", "all", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["jobs"] == 60
    assert found["bound_ratio_b0"] > 1
    assert [policy["name"] for policy in found["policies"]] == [*PRESETS, *PEERS]
    for policy in found["policies"]:
        assert policy["cost_ratio"] >= found["bound_ratio_b0"]
    assert set(found["policies"][0]) >= {
        *("name", "cost_ratio", "over_bound", "wait_p50", "wait_p95", "wait_max", "wait_max_by_class"),
        *("launches", "peak", "zero_after_s", "decision_ms_p99", "seconds_to_run"),
    }


def test_the_command_prints_a_table(asked):
    status, out, _ = asked(week(20), "--preset", "fast", "--price", "0.5", "--boot-spread", "0.4")
    assert status == 0
    assert "fast" in out


@pytest.mark.parametrize(
    "words",
    [
        ("--boot", "0s", "--min-billing", "0s", "--preset", "all", "--against", "all"),
        ("--price", "0", "--spot-rate", "3"),
        ("--pool", "a:0", "--pool", "b:0", "--boot", "0s", "--boot-spread", "0.4"),
    ],
)
def test_what_is_for_nothing_and_there_at_once_is_reckoned_with_too(asked, words):
    status, out, _ = asked(week(12), *words, "--json")
    assert status == 0
    assert all(1 <= policy["cost_ratio"] < 1000 for policy in json.loads(out)["policies"])


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--pool", "cloud"), "no pool with its price"),
        (("--pool", "a:1", "--pool", "a:2"), "two pools have the same name"),
        (("--sold-out", "pool:3h-1h"), "ends before it begins"),
        (("--boot", "400d"), "longer than a day"),
        (("--preset", "thirfty"), "there is no 'thirfty'"),
        (("--against", "slurm"), "there is no 'slurm'"),
        (("--boot", "soon"), "no duration"),
        (("--slots", "8", "--ceiling", "4"), "above the ceiling"),
        (("--ceiling", "0"), "out of range"),
        (("--boot-spread", "much"), "is no number"),
        (("--boot-spread", "nan"), "out of range"),
        (("--pool", "cloud:dear"), "no pool with its price"),
        (("--sold-out", "moon:1h-2h"), "there is no pool 'moon'"),
        (("--sold-out", "pool:1h"), "is no span"),
        (("--lane", "eva=fast"), "names no lane"),
    ],
)
def test_the_command_refuses_what_it_does_not_understand(asked, words, what):
    status, _, said = asked(week(5), *words)
    assert status == 2
    assert what in said
