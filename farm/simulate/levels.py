"""The least that jobs cost which all begin when they come, exactly: machines are opened and closed level by level."""

from collections.abc import Iterable


def least(jobs: Iterable[tuple[float, float]], boot: float) -> float:
    """Machine-seconds of jobs (start, duration), one at a time on a machine; a start costs `boot`.

    The n-th machine is at work whenever n jobs are. Over a gap it is kept or started again, whichever costs less.
    """
    steps = [step for start, length in jobs for step in ((start, 1, 0.0), (start + length, -1, length))]
    steps.sort(key=lambda step: step[:2])  # ends first: who comes at the same instant takes over
    level, cost, left = 0, 0.0, dict[int, float]()
    for at, change, length in steps:
        if change > 0:
            level += 1
            gap = at - left.pop(level) if level in left else boot
            cost += min(gap, boot)
        else:
            left[level] = at
            level -= 1
            cost += length
    return cost
