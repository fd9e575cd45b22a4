"""A lower bound on what any schedule costs in which every job begins within a given wait: a linear programme.

Machines are alike, with `slots` slots each; one start costs a boot; jobs are not cut in two. The programme lets work be
split at will and machines be fractions, so nothing that a real schedule does costs less. docs/simulate.md derives it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from farm.refusal import Unavailable
from farm.simulate.levels import least

FINE_S = 30.0  # a bin, or more where a part is long: the bound holds for every length
BINS = 3000


class Need(NamedTuple):
    """A job in seconds: when it came, how long it takes."""

    arrival: float
    duration: float


@dataclass(frozen=True, slots=True)
class Terms:
    """`wait` and `boot` in seconds."""

    wait: float
    boot: float
    slots: int = 1


def work_and_a_boot(jobs: Sequence[Need], terms: Terms) -> float:
    """B0: whatever they may wait, they are worked off, and one machine starts. Machine-seconds."""
    return sum(job.duration for job in jobs) / terms.slots + terms.boot


def bound(jobs: Sequence[Need], terms: Terms) -> float:
    """B1: machine-seconds that no schedule undercuts. Raises Unavailable without SciPy."""
    if terms.wait <= 0 and terms.slots == 1:
        return least(jobs, terms.boot)
    _solver()
    return sum(_part(part, terms) for part in _parts(sorted(jobs), terms))


def _parts(jobs: Sequence[Need], terms: Terms) -> Iterator[list[Need]]:
    """Cut where nothing can run for longer than a boot: no machine is worth keeping there, so parts are independent."""
    part, end = list[Need](), 0.0
    for job in jobs:
        if part and job.arrival > end + terms.boot:
            yield part
            part = []
        end = max(end, job.arrival + terms.wait + job.duration) if part else sum(job) + terms.wait
        part.append(job)
    yield part


def _part(jobs: Sequence[Need], terms: Terms) -> float:
    least_of_all = work_and_a_boot(jobs, terms)
    return least_of_all if len(jobs) == 1 else max(least_of_all, _programme(jobs, terms))


def _programme(jobs: Sequence[Need], terms: Terms, bin_s: float = 0.0) -> float:
    """min d·Σu + boot·Σb, where in each bin u machines work, b are started, and S is what was worked off by its end:
    S grows by slots·d·u at most and lies between what must and what can be done by then; u covers what surely runs."""
    np: Any = import_module("numpy")
    come, took = (np.array(values, dtype=float) for values in zip(*jobs, strict=True))
    come -= come.min()
    span = float((come + took).max() + terms.wait)
    d = bin_s or max(FINE_S, span / BINS)
    grid = np.arange(int(np.ceil(span / d)) + 1) * d
    can = _worked(come, took, grid)
    must = np.minimum(_worked(come + terms.wait, took, grid), can)
    long = took > terms.wait
    surely = np.diff(_worked(come[long] + terms.wait, took[long] - terms.wait, grid)) / d
    return _solve(d, terms, surely / terms.slots, must, can)


def _worked(start: Any, length: Any, grid: Any) -> Any:
    """Σ clip(t − start, 0, length) at the instants of the grid."""
    np: Any = import_module("numpy")
    if not len(start):
        return np.zeros(len(grid))
    edges = np.concatenate([start, start + length])
    slope = np.concatenate([np.ones(len(start)), -np.ones(len(start))])
    order = np.argsort(edges, kind="stable")
    edges, slope = edges[order], np.cumsum(slope[order])
    done = np.concatenate([[0.0], np.cumsum(np.diff(edges) * slope[:-1])])
    return np.interp(grid, edges, done, left=0.0, right=done[-1])


def _solve(d: float, terms: Terms, surely: Any, must: Any, can: Any) -> float:
    np: Any = import_module("numpy")
    sparse: Any = import_module("scipy.sparse")
    n = len(surely)
    one, none = sparse.identity(n, format="csr"), sparse.csr_matrix((n, n))
    grows = sparse.diags([-np.ones(n), np.ones(n)], [0, 1], shape=(n, n + 1))
    starts = sparse.diags([np.ones(n), -np.ones(n - 1)], [0, -1])
    work = sparse.hstack([-terms.slots * d * one, none, grows])
    launch = sparse.hstack([starts, -one, sparse.csr_matrix((n, n + 1))])
    price = np.concatenate([np.full(n, d), np.full(n, terms.boot), np.zeros(n + 1)])
    slack = 1e-9  # rounding may not make it impossible
    low = np.concatenate([np.maximum(surely - slack, 0.0), np.zeros(n), np.maximum(must - slack, 0.0)])
    high = np.concatenate([np.full(2 * n, np.inf), can + slack])
    limits = sparse.vstack([work, launch]).tocsr()
    found = _solver()(price, A_ub=limits, b_ub=np.zeros(2 * n), bounds=np.c_[low, high], method="highs")
    if found.status != 0:
        raise Unavailable(f"the lower bound can't be found: {found.message}", "--bound", "leave --bound out")
    return float(found.fun)


def _solver() -> Any:
    try:
        return import_module("scipy.optimize").linprog
    except ImportError as error:
        remedy = "pip install 'elastic-farm[simulate]', or leave --bound out"
        raise Unavailable("the lower bound needs SciPy, which is not installed", "--bound", remedy) from error
