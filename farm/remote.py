"""A client of a farm on another machine."""

from farm.address import dial_of, trusting
from farm.client import Client
from farm.login import Login
from farm.transport import RemoteTransport


def reach(login: Login) -> Client:
    """Raises Unreachable when no farm answers there, and Refusal for a CA that is none."""
    context = trusting(login.ca, str(login)) if login.address.secure else None
    transport = RemoteTransport(login.address, dial_of(login.address, context))
    transport.open()
    return Client(transport, login.token, at=str(login))
