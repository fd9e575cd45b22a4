"""How a command reaches its farm: the running service, or the database itself when there is none."""

from farm.client import Client, Unreachable, connect
from farm.home import Home
from farm.refusal import Unavailable


def reader(home: Home) -> Client:
    """A client for questions: works without a running service too. Raises Unavailable where there never was a farm."""
    try:
        return connect(home)
    except Unreachable:
        _check_there(home)
        return _offline(home)


def submitter(home: Home) -> Client:
    """A client for submitting: makes the home where there is none."""
    try:
        return connect(home)
    except Unreachable:
        return _offline(home)


def _check_there(home: Home) -> None:
    """A mistyped home is not made. Raises Unavailable."""
    try:
        home.path.stat()
    except FileNotFoundError as error:
        remedy = "look at --home and FARM_HOME; `farm up` or `farm submit` makes one"
        raise Unavailable("there is no farm here", str(home.path), remedy) from error
    except OSError:
        pass  # told by who makes homes


def _offline(home: Home) -> Client:
    from farm.embedded import offline

    return offline(home)
