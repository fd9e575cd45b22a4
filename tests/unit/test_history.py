"""The farm's own past, replayed: what is read from its books, and how it went in truth beside what would have been."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.cli import main
from farm.clock import micros
from farm.config import FarmConfig
from farm.db import migrate
from farm.refusal import Refusal
from farm.simulate.history import offers, past
from farm.simulate.trace import SECOND
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "ceiling": 8, "slots": 2, "boot": 30, "min_bill": 60, "price_per_hour": "1.80"}
TOML = (
    '[pools.cloud]\nprovider = "simulated"\nceiling = 8\nslots = 2\nboot = 30\nmin_bill = 60\nprice_per_hour = 1.80\n'
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A farm that has done two jobs, one of them in two steps, one task of two slots, one retried."""
    made = tmp_path_factory.mktemp("home")
    (made / "farm.toml").write_text(TOML)
    farm = SimulatedFarm(made / "farm.db", config(), SimulatedOptions(slots=2, ceiling=8, boot_s=30, boot_spread=0))
    migrate(farm.db, "farm.db")
    farm.duration = lambda work: {"1": 20.0, "2": 50.0}[work.attempt[0]]
    farm.exit = lambda work: int(work.attempt.startswith("2.1.1"))
    farm.submit(
        {"name": "a", "argv": ["x"], "array": {"first": 1, "last": 3}}, {"name": "b", "argv": ["x"], "after": ["a"]}
    )
    farm.submit({"name": "wide", "argv": ["x"], "cpu": 2, "retries": 1}, lane="bulk", name="film")
    farm.run()
    farm.db.close()
    return made


def config():
    return FarmConfig.model_validate({"pools": {"cloud": POOL}})


@pytest.fixture
def farm(home):
    made = SimulatedFarm(home / "farm.db", config(), SimulatedOptions())
    made.clock.turn(3600)
    yield made
    made.db.close()


def found(farm, span=timedelta(days=1)):
    with farm.db.read() as tx:
        return past(tx, farm.config, span, farm.clock.now())


def test_a_task_of_two_slots_is_two_jobs_and_a_second_try_comes_when_the_first_has_failed(farm):
    jobs = found(farm).jobs
    assert [job.number for job in jobs] == [*range(len(jobs))]
    assert [job.arrival for job in jobs] == sorted(job.arrival for job in jobs)
    film = [job for job in jobs if job.cls == "bulk"]
    assert [job.duration for job in film] == [50 * SECOND] * 4
    assert {job.name for job in film} == {"command/film/wide"}
    assert film[2].arrival >= film[0].arrival + 50 * SECOND


def test_a_step_comes_when_those_before_it_have_ended(farm):
    jobs = [job for job in found(farm).jobs if job.name.startswith("command/job")]
    with farm.db.read() as tx:
        ends = [micros(row.finished) for row in tx.execute(select(t.Attempt).where(t.Attempt.job == 1)).all()]
    assert [job.name for job in jobs] == ["command/job/a"] * 3 + ["command/job/b"]
    assert jobs[3].arrival == sorted(ends)[2]


def test_how_it_went_is_told_beside_it(farm):
    lived = found(farm).lived
    with farm.db.read() as tx:
        executors = tx.execute(select(t.Executor)).all()
    assert lived["launches"] == len(executors)
    paid = sum(max(60, (e.ended - e.ordered).total_seconds()) for e in executors)
    assert lived["paid_machine_s"] == pytest.approx(paid, abs=0.1)
    assert lived["cost"] == pytest.approx(paid / 3600 * 1.8, rel=1e-3)
    assert lived["wait_max"] >= 30


def test_its_pools_are_those_of_the_farm_with_boots_as_they_were_learned(farm):
    with farm.db.read() as tx:
        (offer,) = offers(tx, farm.config)
    assert (offer.name, offer.ceiling, offer.slots, offer.min_bill, offer.price) == ("cloud", 8, 2, 60 * SECOND, 1.8)
    assert offer.boot == pytest.approx(31 * SECOND, abs=2 * SECOND)


def test_nothing_in_this_time_is_refused(farm):
    with pytest.raises(Refusal, match="nothing that was submitted"):
        found(farm, timedelta(seconds=1))


def test_the_command_replays_it(home, capsys):
    assert main(["simulate", "--history", "36500d", "--preset", "all", "--home", str(home), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    names = [policy["name"] for policy in said["policies"]]
    assert names[:4] == ["as it was", "thrifty", "default", "fast"]
    assert said["jobs"] == 8
    assert main(["simulate", "--history", "36500d", "--home", str(home)]) == 0
    assert "as it was" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        ((), 2, "a trace, or the farm's own past"),
        (("day.csv", "--history", "30d"), 2, "a trace, or the farm's own past"),
        (("--history", "soon"), 2, "no duration"),
        (("--history", "1s"), 2, "choose a longer time"),
    ],
)
def test_what_makes_no_sense_is_refused(home, capsys, words, status, what):
    assert main(["simulate", *words, "--home", str(home)]) == status
    assert what in capsys.readouterr().err


def test_a_home_without_a_farm_is_not_made(tmp_path, capsys):
    assert main(["simulate", "--history", "30d", "--home", str(tmp_path / "none")]) == 3
    assert "there is no farm here" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
