"""How long something will take: exponentially weighted mean and variance of the logarithm of what it took."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from farm import tables as t
from farm.tables import AnyRow

PRIOR_S = 60.0  # what never ran before
PRIOR_SD = 1.0  # and the spread of its logarithm: a factor of e; of what ran n times the (n + 1)th part of it is added
LEAST_S, MOST_S = 0.001, 30 * 86400.0  # beyond these a prediction is of no use, and arithmetic with it a danger
_FORGET = 0.3  # weight of the newest
_EIGHTY = 1.28  # standard deviations between which four of five lie
_MANY = 1000  # names of one question
_SELECT = select(t.Duration).where(t.Duration.what.in_(bindparam("names", expanding=True)))
_SHAPES = select(t.Executor.id, t.Executor.pool, t.Executor.slots).where(
    t.Executor.id.in_(bindparam("ids", expanding=True))
)
_INSERT = insert(t.Duration)
_UPDATE = update(t.Duration).where(t.Duration.what == bindparam("w"))


class Prediction(NamedTuple):
    """Four of five are expected between `low` and `high`."""

    seconds: float
    low: float
    high: float
    samples: int  # 0: it never ran, so that this is the prior


def what(kind: str, job: str, step: str, item: str = "") -> str:
    """The name under which durations are kept."""
    return "/".join(part for part in (kind, job, step, item) if part)


def on(name: str, shape: str) -> str:
    """The same on executors of one shape. No name has a tab in it."""
    return f"{name}\t{shape}" if shape else name


def shape(pool: str, slots: int) -> str:
    """Executors of a pool are alike, in their architecture too; it may give larger and smaller ones."""
    return f"{pool}/{slots}"


def seconds(tx: Connection, name: str) -> float:
    """The expected duration, or the prior."""
    return several(tx, [name]).get(name, PRIOR_S)


def several(tx: Connection, names: Iterable[str]) -> dict[str, float]:
    """Expected durations of those that ever ran."""
    return {row.what: _expected(row) for row in _rows(tx, names)}


def prediction(tx: Connection, name: str, of_shape: str = "") -> Prediction:
    """What is known, on executors of this shape if anything ever ran there, else on any."""
    found = {row.what: row for row in _rows(tx, {name, on(name, of_shape)})}
    row = found.get(on(name, of_shape)) or found.get(name)
    mean, var, samples = (row.log_mean, row.log_var, row.samples) if row else (math.log(PRIOR_S), 0.0, 0)
    off = _EIGHTY * math.sqrt(var + PRIOR_SD**2 / (samples + 1))
    expected = _expected(row) if row else PRIOR_S
    return Prediction(expected, sane(_exp(mean - off)), sane(_exp(mean + off)), samples)


def sane(predicted_s: float) -> float:
    """The nearest duration that can be planned with."""
    return min(max(predicted_s, LEAST_S), MOST_S)


def _expected(row: AnyRow) -> float:
    return sane(_exp(row.log_mean + row.log_var / 2))


def _exp(log: float) -> float:
    return math.exp(min(50.0, log))


def _rows(tx: Connection, names: Iterable[str]) -> Iterator[AnyRow]:
    wanted = list(names)
    for start in range(0, len(wanted), _MANY):
        yield from tx.execute(_SELECT, {"names": wanted[start : start + _MANY]})


def learn(tx: Connection, took: Mapping[tuple[str, str], float]) -> None:
    """Take in new durations (seconds) by name and executor: for the name, and for it on executors of that shape."""
    if not took:
        return
    shapes = {row.id: shape(row.pool, row.slots) for row in tx.execute(_SHAPES, {"ids": list({e for _, e in took})})}
    news = {name: value for (name, _), value in took.items()}
    news |= {on(name, shapes[e]): value for (name, e), value in took.items() if e in shapes}
    known = {row.what: row for row in _rows(tx, news)}
    if first := [_first(name, _log(value)) for name, value in news.items() if name not in known]:
        tx.execute(_INSERT, first)
    if again := [_again(known[name], _log(value)) for name, value in news.items() if name in known]:
        tx.execute(_UPDATE, again)


def _log(value: float) -> float:
    return math.log(max(value, 1e-4))


def _first(name: str, log: float) -> dict[str, Any]:
    return {"what": name, "samples": 1, "log_mean": log, "log_var": 0.0}


def _again(row: AnyRow, log: float) -> dict[str, Any]:
    off = log - row.log_mean
    return {
        "w": row.what,
        "samples": row.samples + 1,
        "log_mean": row.log_mean + _FORGET * off,
        "log_var": (1 - _FORGET) * (row.log_var + _FORGET * off * off),
    }
