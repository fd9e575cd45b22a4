"""How a command reaches its farm: the running service, or the database itself when there is none."""

from farm.client import Client, Unreachable, connect
from farm.home import Home


def reader(home: Home) -> Client:
    """A client for questions, and for submitting: works without a running service too."""
    try:
        return connect(home)
    except Unreachable:
        from farm.embedded import offline

        return offline(home)
