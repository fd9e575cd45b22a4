"""A client of a farm on another machine."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from farm.address import dial_of, trusting
from farm.client import Client
from farm.login import Login, read_login, write_login
from farm.refusal import Refusal
from farm.transport import RemoteTransport

ASKED_S = 3600.0  # so old a login file may be before the farm is asked whom to trust from now on


def reach(login: Login) -> Client:
    """Raises Unreachable when no farm answers there, and Refusal for a CA that is none."""
    context = trusting(login.ca, str(login)) if login.address.secure else None
    transport = RemoteTransport(login.address, dial_of(login.address, context))
    transport.open()
    client = Client(transport, login.token, at=str(login))
    if login.ca and login.file is not None and _is_old(login.file):
        _learn(client, login, login.file)
    return client


def _is_old(file: Path) -> bool:
    try:
        return abs(time.time() - file.stat().st_mtime) > ASKED_S  # clocks are set back, too
    except OSError:
        return False


def _learn(client: Client, login: Login, file: Path) -> None:
    """The farm's authority may be on its way out: who is trusted still says who comes next. What can't be learned or
    kept now is so the next time."""
    with suppress(Refusal, OSError, KeyError, TypeError, ValueError):
        os.utime(file)  # asked once an hour also where it can't be answered
        found = str(client.get("/v1/ca")["ca"])
        if found and found != login.ca and read_login(file) == login:
            trusting(found, str(login))
            write_login(replace(login, ca=found), file)
