"""The lower bound beside the best that any schedule of a small day reaches, tried one by one."""

import random
from importlib.util import find_spec
from itertools import product

import pytest

from farm.refusal import Unavailable
from farm.simulate.bound import Need, Terms, bound, work_and_a_boot
from farm.simulate.levels import least

SOLVER = find_spec("scipy") is not None


def cheapest(jobs, terms):
    """Of all schedules on whole seconds; the best one of whole numbers begins on such."""
    starts = product(range(int(terms.wait) + 1), repeat=len(jobs))
    return min(
        least([(job.arrival + o, job.duration) for job, o in zip(jobs, off, strict=True)], terms.boot) for off in starts
    )


def small_day(seed):
    draw = random.Random(seed)
    terms = Terms(draw.choice([1, 2, 4]), draw.choice([1, 3, 6]))
    jobs = [Need(draw.randint(0, 14), draw.randint(1, 8)) for _ in range(draw.randint(2, 4))]
    return sorted(jobs), terms


def test_without_solver_it_says_what_to_install_and_with_one_nothing_undercuts_it(monkeypatch):
    if not SOLVER:
        with pytest.raises(Unavailable, match="SciPy"):
            bound([Need(0, 5), Need(1, 5)], Terms(2, 3))
        return
    monkeypatch.setattr("farm.simulate.bound.FINE_S", 1.0)
    tight = []
    for seed in range(60):
        jobs, terms = small_day(seed)
        best, low = cheapest(jobs, terms), bound(jobs, terms)
        assert low <= best + 1e-6, (jobs, terms)
        assert low >= work_and_a_boot(jobs, terms) - 1e-6
        tight.append(low / best)
    assert sum(tight) / len(tight) > 0.9


def test_without_any_wait_it_is_exact_and_needs_no_solver():
    jobs = [Need(0, 10), Need(12, 10), Need(200, 10)]
    assert bound(jobs, Terms(0, 60)) == 30 + 60 + 2 + 60


def test_b0_is_the_work_and_one_boot():
    assert work_and_a_boot([Need(0, 10), Need(0, 30)], Terms(300, 60, slots=4)) == 70
