"""Providers by name: entry points of the group `farm.providers`, imported when they are used."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from executors.contract import Provider, Surroundings
from executors.errors import Refused
from executors.options import nearest

GROUP = "farm.providers"


def provider(name: str, options: Mapping[str, Any], around: Surroundings) -> Provider:
    """The provider of one pool. Raises Refused for a name or an option that nobody knows."""
    make = _found(name).load()
    return cast(Provider, make(options, around))


def network(name: str) -> str:
    """How its executors are reached when the pool does not say: "local", or "outbound". Raises Refused."""
    return str(getattr(import_module(_found(name).module), "NETWORK", "local"))


def known() -> list[str]:
    """Names that can be asked for."""
    return sorted(entry_points(group=GROUP).names)


def _found(name: str) -> EntryPoint:
    points = entry_points(group=GROUP)
    if name not in points.names:
        raise Refused(f"there is no provider {name}{nearest(name, sorted(points.names))}")
    return points[name]
