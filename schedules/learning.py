"""What is learned from what things took: durations by name, boot times by pool. Numbers in, numbers out."""

import math
from typing import NamedTuple

PRIOR_S = 60.0  # what never ran before
LEAST_S, MOST_S = 0.001, 30 * 86400.0  # beyond these a prediction is of no use, and arithmetic with it a danger
_FORGET = 0.3  # weight of the newest


class Known(NamedTuple):
    """Exponentially weighted mean and variance of the logarithm of what it took."""

    samples: int
    log_mean: float
    log_var: float


def after(known: Known | None, seconds: float) -> Known:
    """With one more duration."""
    log = math.log(max(seconds, 1e-4))
    if known is None:
        return Known(1, log, 0.0)
    off = log - known.log_mean
    variance = (1 - _FORGET) * (known.log_var + _FORGET * off * off)
    return Known(known.samples + 1, known.log_mean + _FORGET * off, variance)


def expected(log_mean: float, log_var: float) -> float:
    """Seconds that it takes on average."""
    return sane(math.exp(min(50.0, log_mean + log_var / 2)))


def sane(predicted_s: float) -> float:
    """The nearest duration that can be planned with."""
    return min(max(predicted_s, LEAST_S), MOST_S)


class Boots(NamedTuple):
    """How long the machines of a pool boot, in seconds: so many were `seen`."""

    seen: int = 0
    mean: float = 0.0
    high: float = 0.0


def booted(known: Boots, seconds: float) -> Boots:
    """Exponentially forgotten mean, and a p95 that jumps up at once and comes down slowly."""
    weight = max(0.2, 1 / (known.seen + 1))
    mean = known.mean + weight * (seconds - known.mean)
    high = max(seconds, known.high + 0.05 * (seconds - known.high))
    return Boots(known.seen + 1, mean, high)
