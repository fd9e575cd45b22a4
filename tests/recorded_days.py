"""Days of work drawn from a seed: the kinds of arrivals that a farm sees, and no recording of anybody's."""

import random
from collections.abc import Iterable, Sequence

from farm.simulate.trace import SECOND, Job

START = 1_767_600_000  # Monday 2026-01-05, 8:00 UTC


def job(number: int, at: float, took: float, name: str = "curl", source: str = "bot", cls: str = "build") -> Job:
    """Seconds in, microseconds in the job."""
    return Job(number, round(at * SECOND), max(1000, round(took * SECOND)), name, source, cls)


def bursts(count: int, seed: int = 5, gap: float = 1500, median: float = 55, names: int = 60) -> list[Job]:
    """Commits that touch a few packages each; most builds are short, some take hours."""
    draw, at, found = random.Random(seed), float(START), list[Job]()
    usual = {f"p{n}": min(20_000, median * draw.lognormvariate(0, 1.3)) for n in range(names)}
    while len(found) < count:
        at += int(draw.expovariate(1 / gap))
        who = draw.choice(["eva", "bot"])
        for name in draw.sample([*usual], draw.choice([1, 1, 2, 8])):
            found.append(job(len(found), at, round(usual[name] * draw.lognormvariate(0, 0.3)) + 1, name, who))
    return found[:count]


def stream(count: int, seed: int = 5, gap: float = 20, took: float = 300) -> list[Job]:
    """One job after the other, as from a queue of many users."""
    draw, at, found = random.Random(seed), float(START), list[Job]()
    for number in range(count):
        at += draw.expovariate(1 / gap)
        found.append(job(number, at, draw.lognormvariate(0, 0.8) * took, f"u{draw.randrange(20)}", "people"))
    return found


def numbered(jobs: Iterable[Job]) -> Sequence[Job]:
    """Several days as one, in the order of arrival."""
    found = sorted(jobs, key=lambda j: j.arrival)
    return [j._replace(number=n) for n, j in enumerate(found)]


def in_lane(jobs: Iterable[Job], lane: str = "default") -> Sequence[Job]:
    """Their class names the lane."""
    return [j._replace(cls=lane) for j in jobs]
