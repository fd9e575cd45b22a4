"""A farm inside the process of the command line: the queue without a service, or a service for as long as one waits."""

import asyncio
import io
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from farm.client import Answer, Client, Unreachable, connect
from farm.home import Home, Taken
from farm.refusal import Unavailable

if TYPE_CHECKING:
    from farm.running import RunningService

CHUNK = 1 << 20
Message = MutableMapping[str, Any]


class AsgiTransport:
    """Calls an ASGI application in this process; for questions and submits, where nothing needs to run."""

    def __init__(self, app: Callable[..., Any], close: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._close = close

    def send(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Answer:
        return asyncio.run(_call(self._app, _scope(method, path, headers), body))

    def close(self) -> None:
        self._close()


def _scope(method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": ("farm", None),
    }


async def _call(app: Callable[..., Any], scope: dict[str, Any], body: bytes | IO[bytes] | None) -> Answer:
    source = io.BytesIO(body or b"") if body is None or isinstance(body, bytes) else body
    answer: dict[str, Any] = {"status": 500, "headers": {}}
    received = io.BytesIO()
    ended = asyncio.Event()
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await ended.wait()
            return {"type": "http.disconnect"}
        chunk = source.read(CHUNK)
        sent = len(chunk) < CHUNK
        return {"type": "http.request", "body": chunk, "more_body": not sent}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            answer["headers"] = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            received.write(message.get("body", b""))

    await app(scope, receive, send)
    ended.set()
    received.seek(0)
    return Answer(answer["status"], answer["headers"], received)


def offline(home: Home) -> Client:
    """A client of the queue itself; nothing runs. Raises Unavailable for what can't be opened."""
    from farm.api import app
    from farm.context import open_farm

    farm = open_farm(home.make())
    return Client(AsgiTransport(app(farm), farm.close), home.token(), running=False)


@contextmanager
def _explained(home: Home) -> Iterator[None]:
    """A provider that makes a start impossible, as Unavailable."""
    from executors.errors import ProviderError

    try:
        yield
    except ProviderError as error:
        what, _, remedy = str(error).partition("; ")
        raise Unavailable(what, str(home.config_file), remedy or "edit it") from error


@contextmanager
def hosted(home: Home) -> Iterator[tuple[Client, bool]]:
    """Run the service in this process, as its client; it lives on until nobody waits for a job in this home.

    An interrupt (Ctrl-C, TERM, HUP) stops it at once: what ran goes back into the queue, uncharged. The second value
    is False when another process was quicker and its service is used instead. Raises Taken when that is another home's.
    """
    from farm.lease import HANDED_OVER
    from farm.service import run

    home.make()
    try:
        with _explained(home):
            service = run(home)
    except Taken as taken:
        if taken.where != str(home.path):  # it is another home's, on the same database: none answers here
            raise
        with _attached(home) as client:
            yield client, False
        return
    try:
        with _on(_interrupt, signal.SIGTERM, signal.SIGHUP), connect(home) as client:
            yield client, True
            _outlast(service)
    finally:
        with _on(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # stopping is under way
            service.stop(terminate=True, state=HANDED_OVER)  # to who stands by, if somebody does
            service.join()


def _outlast(service: "RunningService") -> None:
    """Wait until nobody waits; a waiter is not seen between two of its calls, hence twice."""
    quiet = 0
    while quiet < 2:
        quiet = 0 if service.waiters() else quiet + 1
        if service.join(0.1):
            return


def _attached(home: Home) -> Client:
    """A client of the service that another process is just starting. Raises Unreachable."""
    pause = threading.Event()
    for _ in range(100):
        try:
            client = connect(home)
            client.get("/v1/status")
            return client
        except Unreachable:
            pause.wait(0.1)
    return connect(home)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def _on(handler: signal.Handlers | Callable[[int, FrameType | None], None], *signals: signal.Signals) -> Iterator[None]:
    """Handle these signals so for a while."""
    before = {one: signal.signal(one, handler) for one in signals}
    try:
        yield
    finally:
        for one, earlier in before.items():
            signal.signal(one, earlier)
