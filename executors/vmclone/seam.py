"""What executors.site.guests asks of a kind of guest."""

from collections.abc import Mapping
from typing import Any

from executors.site.guests import AnyAgent, Guest
from executors.site.ticket import Ticket

_here: list[Guest] = []  # for as long as this process lives: they hold what nobody may take away meanwhile


def start(ticket: Ticket, about: Mapping[str, Any]) -> Guest:
    from executors.vmclone.host import Host

    _here.append(Host(ticket, about))
    return _here[-1]


def agent(executor: str, folder: str, slots: int, store: str, about: Mapping[str, Any]) -> AnyAgent:
    from executors.vmclone.proxy import Proxy

    return Proxy(executor, folder, store, about)
