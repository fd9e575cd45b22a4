"""Executors whose work runs in a guest: a machine of its own that is started beside their Ray node or agent, and behind
an agent that passes everything on. Which it is, is written into the executor's folder by its provider."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from executors.contract import Running
from executors.packed import Events, Works
from executors.site.ticket import Ticket

FILE = "guest.json"
"""{"module": one that has `start` and `agent` as below, and what that module needs to know}."""


class Guest(Protocol):
    """On its way."""

    def meet(self) -> None:
        """Wait until it is there. Raises Lost when it does not come."""
        ...


class AnyAgent(Protocol):
    """What executors.site.agent.Agent does, wherever it does it."""

    def submit(self, works: Works | Sequence[Any]) -> None: ...
    def poll(self, after: int, acknowledged: int, lease_s: float, wait_s: float, gather_s: float = 0) -> Events: ...
    def nudge(self) -> None: ...
    def cancel(self, attempts: Sequence[str], grace_s: float) -> None: ...
    def snapshot(self) -> list[Running]: ...
    def stop(self, grace_s: float) -> None: ...
    def processes(self) -> list[dict[str, Any]]: ...


class _Module(Protocol):
    def start(self, ticket: Ticket, about: Mapping[str, Any]) -> Guest:
        """Called in the thread that the guest shall not outlive."""
        ...

    def agent(self, executor: str, folder: str, slots: int, store: str, about: Mapping[str, Any]) -> AnyAgent: ...


def guest_of(ticket: Ticket) -> Guest | None:
    """The guest of this executor, started; None for one that works by itself."""
    about = _about(ticket.folder)
    return _module(about).start(ticket, about) if about else None


def agent_of(executor: str, folder: str, slots: int, store: str) -> AnyAgent:
    about = _about(folder)
    if about:
        return _module(about).agent(executor, folder, slots, store, about)
    from executors.site.agent import Agent

    return Agent(executor, folder, slots, store)


def _module(about: Mapping[str, Any]) -> _Module:
    return cast(_Module, import_module(about["module"]))


def _about(folder: str) -> dict[str, Any] | None:
    try:
        found = json.loads((Path(folder) / FILE).read_text())
    except FileNotFoundError:
        return None
    return cast(dict[str, Any], found)
