"""How long something will take: exponentially weighted mean and variance of the logarithm of what it took."""

import math
from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, insert, select, update

from farm import tables as t

PRIOR_S = 60.0  # what never ran before
LEAST_S, MOST_S = 0.001, 30 * 86400.0  # beyond these a prediction is of no use, and arithmetic with it a danger
_FORGET = 0.3  # weight of the newest
_SELECT = select(t.Duration.samples, t.Duration.log_mean, t.Duration.log_var).where(t.Duration.what == bindparam("w"))
_INSERT = insert(t.Duration)
_UPDATE = update(t.Duration).where(t.Duration.what == bindparam("w"))


def what(kind: str, job: str, step: str, item: str = "") -> str:
    """The name under which durations are kept."""
    return "/".join(part for part in (kind, job, step, item) if part)


def seconds(tx: Connection, name: str) -> float:
    """The expected duration, or the prior."""
    row = tx.execute(_SELECT, {"w": name}).one_or_none()
    return PRIOR_S if row is None else sane(math.exp(min(50.0, row.log_mean + row.log_var / 2)))


def sane(predicted_s: float) -> float:
    """The nearest duration that can be planned with."""
    return min(max(predicted_s, LEAST_S), MOST_S)


def learn(tx: Connection, took: Mapping[str, float]) -> None:
    """Take in new durations (seconds) by name."""
    for name, value in took.items():
        log = math.log(max(value, 1e-4))
        row = tx.execute(_SELECT, {"w": name}).one_or_none()
        if row is None:
            tx.execute(_INSERT, {"what": name, "samples": 1, "log_mean": log, "log_var": 0.0})
            continue
        off = log - row.log_mean
        tx.execute(
            _UPDATE,
            {
                "w": name,
                "samples": row.samples + 1,
                "log_mean": row.log_mean + _FORGET * off,
                "log_var": (1 - _FORGET) * (row.log_var + _FORGET * off * off),
            },
        )
