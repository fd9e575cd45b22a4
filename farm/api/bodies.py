"""How much a request may bring and how long it may be silent over it; JSON that means one thing only."""

import asyncio
import json
import math
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.api.errors import Unfit
from farm.postgres import passing

SYNC_LIMIT = 64 << 20  # bytes
LIMIT = 16 << 20
UNKNOWN_LIMIT = 64 << 10  # from who has not said yet who it is
SILENCE_S = 60.0
TRIES = 4  # of what crossed with the locks of another program in PostgreSQL
UNKNOWN_S = 30.0  # for the whole of it: a byte a minute would hold a connection for weeks
Key = Annotated[str, Header(alias="Idempotency-Key", max_length=200)]
"""Chosen by who asks: the same request under the same key is carried out once."""


class Bounded:
    """Answers 413 to what is too large, announced or not, and 408 to a body that stops coming."""

    def __init__(self, app: ASGIApp, largest_upload: int) -> None:
        self._app, self._upload = app, largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = _bounded(scope, receive, *self._most(scope["path"]))
        await self._app(scope, receive, send)

    def _most(self, path: str) -> tuple[int, str, float]:
        """Bytes, what to do about more, and seconds for the whole body."""
        if path.startswith("/v1/store/") and path not in ("/v1/store/missing", "/v1/store/pack"):
            return self._upload, "raise largest_upload below [api] in farm.toml, or split the file", math.inf
        if path.startswith("/v1/join"):
            return UNKNOWN_LIMIT, "send less", UNKNOWN_S
        return SYNC_LIMIT if path.startswith("/v1/sites/") else LIMIT, "send less, or split it", math.inf


def _bounded(scope: Scope, receive: Receive, most: int, remedy: str, within: float) -> Receive:
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if announced.isdigit() and int(announced[:30]) > most:
        return lambda: _refuse(most, remedy)
    had, more, until = 0, True, asyncio.get_running_loop().time() + within

    async def counted() -> Message:
        nonlocal had, more
        if not more:
            return await receive()
        message = await _soon(receive, until)
        more = message.get("more_body", False)
        had += len(message.get("body", b""))
        if had > most:
            await _refuse(most, remedy)
        return message

    return counted


async def _refuse(most: int, remedy: str) -> Message:
    raise Unfit(413, f"the body has more than the {most:,} bytes that are taken", "the request's body", remedy)


async def _soon(receive: Receive, until: float) -> Message:
    """The next part; `until` is when the last must have come, in the loop's time. Raises Unfit."""
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(min(now + SILENCE_S, until)):
            return await receive()
    except TimeoutError:
        limit = SILENCE_S if now + SILENCE_S < until else UNKNOWN_S
        late = Unfit(408, f"the body did not come within {limit:.0f} s", "the request's body", "send it again")
        late.headers = {"Connection": "close"}  # else the rest of it would hold the connection
        raise late from None


class Checked(APIRoute):
    """A route whose JSON is read by `parse`, and only for who may make the call: the framework would read it first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            await request.app.state.guard(request)
            read = _Strict(request.scope, request.receive)  # keeps the body for a second time
            forward = request.app.state.forward
            if forward is not None and (answer := await forward(read)) is not None:
                return answer  # type: ignore[no-any-return]
            for _ in range(TRIES - 1):
                try:
                    return await handle(read)
                except DBAPIError as error:
                    if not passing(error):  # else all of it was undone, as if it had not been asked
                        raise
            return await handle(read)

        return checked


class _Strict(Request):
    async def json(self) -> Any:
        return parse(await self.body())


def parse(body: bytes) -> Any:
    """JSON in UTF-8 with each key once, finite numbers, and texts that every database can keep. Raises Unfit."""
    try:
        made = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_infinite)
    except UnicodeDecodeError as error:
        raise _unfit(f"it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise _unfit("it is nested too deeply") from error
    except ValueError as error:  # JSONDecodeError is one; so is a number of thousands of digits
        raise _unfit(str(error)) from error
    lower = body.lower()
    if rb"\u0000" in lower or rb"\ud" in lower:
        _check_texts(made)
    return made


def _unfit(why: str) -> Unfit:
    return Unfit(400, f"the body is no JSON that can be used: {why[:200]}", "the request's body", "correct it")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return made


def _infinite(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _check_texts(made: Any) -> None:
    text = json.dumps(made, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _unfit("a text holds half of a surrogate pair") from error
    if r"\u0000" in text.replace(r"\\", ""):
        raise _unfit("a text holds a NUL byte")
