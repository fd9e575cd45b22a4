"""The simulator is honest: a farm (its real queue, wheel, fair shares, learning and books, on a turned clock and a
cloud in memory) and a replay, given the same arrivals, order the same machines, pay the same and wait as long."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.clock import from_micros, micros
from farm.config import FarmConfig
from farm.db import migrate
from farm.simulate.farmer import SOON, Farmer
from farm.simulate.pools import Offer
from farm.simulate.score import play, score, wait
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World
from schedules.presets import PRESETS
from tests.properties.simulated_farm import SimulatedFarm
from tests.recorded_days import bursts, in_lane, numbered, stream

BOOT_S, BILL_S = 60, 60


class Replayed(SimulatedFarm):
    """A farm that is given a recorded day; its clock goes from event to event."""

    def play(self, jobs: Sequence[Job]) -> dict[str, float]:
        """What `farm simulate --json` would say of it, as far as it is compared."""
        self.clock._now = from_micros(jobs[0].arrival)
        left, numbers = deque(jobs), dict[int, Job]()
        self.duration = lambda work: numbers[int(work.attempt.split(".")[0])].duration / SECOND
        while left or self.gateway.running or self.machines() or self.alive():
            self.clock._now = self._soonest(left)
            while left and left[0].arrival <= micros(self.clock.now()):
                job = left.popleft()
                numbers[self.submit({"argv": ["x"]}, name=job.name, lane=job.cls)] = job
            self.turn(0)
            while self.gateway.lost:  # it has told those that go, and the farm is to hear when they went
                self.turn(0.001)
        return self._score(numbers)

    def _soonest(self, left: deque[Job]) -> datetime:
        """When something happens next: a job comes, one ends, a machine is ready, or the policy wants to look again."""
        now = self.clock.now()
        found = [from_micros(left[0].arrival)] if left else []
        found += [start + timedelta(seconds=self.duration(work)) for _, work, start in self.gateway.running.values()]
        found += [rented.ready_at for rented in self.cloud.listing() if rented.ready_at > now and not rented.ended_at]
        if self.fleet.last is not None and self.fleet.last.look_again:
            found.append(max(self.fleet.last.look_again, now + timedelta(microseconds=SOON)))
        return max(now + timedelta(milliseconds=1), min(found, default=now))

    def _score(self, numbers: dict[int, Job]) -> dict[str, float]:
        with self.db.read() as tx:
            lives = [(micros(e.ordered), micros(e.ended)) for e in tx.execute(select(t.Executor))]
            begun = {row.job: micros(row.started) for row in tx.execute(select(t.Attempt))}
        waits = sorted((begun[number] - job.arrival) / SECOND for number, job in numbers.items())
        paid = sum(max(BILL_S * SECOND, end - start) for start, end in lives)
        return {"launches": len(lives), "paid_machine_s": paid / SECOND, "wait_sum": sum(waits), "wait_max": waits[-1]}


def farm(tmp_path: Path, preset: str, slots: int, ceiling: int) -> Replayed:
    pool = {"provider": "simulated", "slots": slots, "ceiling": ceiling, "boot": BOOT_S, "min_bill": BILL_S}
    config = FarmConfig.model_validate({"policy": preset, "pools": {"cloud": pool}})
    options = SimulatedOptions(boot_s=BOOT_S, boot_spread=0, ceiling=ceiling, slots=slots)
    made = Replayed(tmp_path / "farm.db", config, options)
    migrate(made.db, "farm.db")
    return made


def replay(jobs: Sequence[Job], preset: str, slots: int, ceiling: int) -> dict[str, float]:
    offer = Offer("cloud", BOOT_S * SECOND, BILL_S * SECOND, ceiling, slots)
    world = World(jobs, (offer,), Farmer(PRESETS[preset], {"cloud": offer}, lambda job: job.cls))
    play(world)
    return {**score(world), "wait_sum": sum(wait(world, job) for job in jobs)}


@pytest.mark.parametrize(
    ("preset", "slots", "ceiling", "jobs"),
    [
        ("thrifty", 1, 30, in_lane(bursts(30, seed=11))),
        ("fast", 1, 30, in_lane(bursts(30, seed=13))),
        ("default", 1, 30, in_lane(stream(24, seed=14))),
        ("default", 2, 6, numbered([*in_lane(stream(20, seed=15)), *in_lane(bursts(20, seed=16, gap=60), "bulk")])),
    ],
    ids=["thrifty", "fast", "default", "two lanes at the ceiling"],
)
def test_a_farm_and_a_replay_agree(tmp_path: Path, preset: str, slots: int, ceiling: int, jobs: Sequence[Job]) -> None:
    real = farm(tmp_path, preset, slots, ceiling)
    lived = real.play(jobs)
    real.db.close()
    said = replay(jobs, preset, slots, ceiling)
    assert lived["launches"] == pytest.approx(said["launches"], abs=1)
    assert lived["paid_machine_s"] == pytest.approx(said["paid_machine_s"], rel=0.03)
    assert lived["wait_sum"] == pytest.approx(said["wait_sum"], rel=0.03)
    assert lived["wait_max"] == pytest.approx(said["wait_max"], rel=0.03)
