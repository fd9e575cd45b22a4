"""Our import names `farm`, `executors` and `schedules` also exist on PyPI: whose are those that are found here?"""

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "elastic-farm"
PACKAGES = ("farm", "executors", "schedules")


def shadowed() -> str:
    """What is imported from elsewhere than this file, as a sentence; empty when all is ours. Takes no time."""
    ours = Path(__file__).parents[1]
    for name in PACKAGES:
        spec = find_spec(name)
        place = Path(spec.origin).parents[1] if spec and spec.origin else None
        if place != ours:
            return f"the package {name} that is found in {place} is not the farm's, which is in {ours}"
    return ""


def owners() -> Mapping[str, Sequence[str]]:
    """Import name → installed distributions that bring it; reads the metadata of all of them."""
    return packages_distributions()


def foreign(found: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Of our names those that another distribution brings too: name → distribution."""
    return {name: who for name in PACKAGES for who in found.get(name, ()) if who != DISTRIBUTION}
