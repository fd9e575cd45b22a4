"""Policies of one's own: Python callables `(Snapshot) -> Decision`, found by entry points of the group `farm.policies`.

Each runs in a process of its own that is ended when it takes too long; what it decides is bounded. docs/policies.md
"""

from importlib.metadata import entry_points

from farm.policy_guard import Guarded
from farm.policy_process import GROUP, PolicyProcess
from farm.wording import nearest
from schedules.model import ScalingPolicy
from schedules.policy import default
from schedules.presets import PRESETS


def known() -> list[str]:
    """Names of those that are installed."""
    return sorted(entry_points(group=GROUP).names)


def known_policy(name: str) -> str:
    """The name. Raises ValueError where there is neither a preset nor an installed policy of it."""
    if name in PRESETS or is_own(name):
        return name
    raise ValueError(f"there is no policy {name[:40]!r}; {nearest(name, [*PRESETS, *known()])}")


def is_own(name: str) -> bool:
    """Whether it is somebody's own, and not a preset."""
    return name not in PRESETS and name in known()


def policy_of(name: str | None) -> ScalingPolicy:
    """The farm's own with a preset or without; somebody's own, guarded."""
    return Guarded(name, PolicyProcess(name)) if name and is_own(name) else default


def close(policy: ScalingPolicy) -> None:
    """End what it started."""
    if isinstance(policy, Guarded):
        policy.close()
