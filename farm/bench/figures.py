"""Numbers of a benchmark: the middle one of several runs with the least and the most, and what they may be at most."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def over(found: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """The names of those that are above what they may be, by what `Figures.told` says or by a plain number."""
    return [name for name, most in limits.items() if name in found and middle(found[name]) > most]


def middle(value: Any) -> float:
    return float(value["median"] if isinstance(value, Mapping) else value)


@dataclass
class Figures:
    """Each number once for every run."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **numbers: float) -> None:
        for name, value in numbers.items():
            self.samples.setdefault(name, []).append(float(value))

    def told(self) -> dict[str, dict[str, float]]:
        return {name: spread(values) for name, values in self.samples.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": short(statistics.median(values)),
        "least": short(min(values)),
        "most": short(max(values)),
        "runs": len(values),
    }


def short(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")
