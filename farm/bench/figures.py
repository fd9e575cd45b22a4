"""Numbers of a benchmark, and what they may be at most."""

from collections.abc import Mapping, Sequence
from typing import Any


def p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def over(found: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """The names of those that are above what they may be."""
    return [name for name, most in limits.items() if name in found and found[name] > most]
