"""Providers by name: entry points of the group `farm.providers`, imported when they are used."""

from collections.abc import Mapping
from functools import cache
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


def shares_devices(name: str) -> bool:
    """Whether all its executors are on the farm's own machine, and see the same devices."""
    return _says(name, "SHARES_DEVICES")


def joins(name: str) -> bool:
    """Whether its machines come by themselves, with a ticket."""
    return _says(name, "JOINS")


@cache
def _says(name: str, word: str) -> bool:
    """Of a name that nobody knows nothing is said."""
    points = entry_points(group=GROUP)
    return name in points.names and bool(getattr(import_module(points[name].module), word, False))


def known() -> list[str]:
    """Names that can be asked for."""
    return sorted(entry_points(group=GROUP).names)


def _found(name: str) -> EntryPoint:
    points = entry_points(group=GROUP)
    if name not in points.names:
        raise Refused(f"there is no provider {name}{nearest(name, sorted(points.names))}")
    return points[name]
