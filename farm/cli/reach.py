"""How a command reaches its farm: a service here or elsewhere, or the database itself when there is none."""

import os

from farm.client import Client, Unreachable, connect
from farm.home import Home
from farm.login import Login, find_login
from farm.refusal import Refusal, Unavailable

Place = Home | Login


def place_of(given: str | None) -> Place:
    """Which farm is meant: that of --home or FARM_HOME, else of FARM_URL, else of the login file, else of this user."""
    if given is None and not os.environ.get("FARM_HOME"):
        login = find_login()
        if login is not None:
            return login
    return Home.find(given)


def home_of(given: str | None, command: str) -> Home:
    """For what can only be done on the farm's own machine. Raises Refusal where another farm is meant."""
    place = place_of(given)
    if isinstance(place, Home):
        return place
    remedy = "type it there, or name a home of this machine with --home"
    what = f"`farm {command}` works on the farm's own machine only, and this farm is elsewhere"
    raise Refusal(what, str(place), remedy)


def reader(place: Place | str | None) -> Client:
    """A client for questions: works without a running service too. Raises Unavailable where there never was a farm."""
    place = place if isinstance(place, Home | Login) else place_of(place)
    try:
        return connect(place)
    except Unreachable:
        if isinstance(place, Login):
            raise
        _check_there(place)
        return _offline(place)


def submitter(place: Place) -> Client:
    """A client for submitting: makes the home where there is none."""
    try:
        return connect(place)
    except Unreachable:
        if isinstance(place, Login):
            raise
        return _offline(place)


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
