"""How a process of the API that does not lead asks the one that does: by its socket, or over the network by TLS."""

import asyncio
import json
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from executors.site.process import Process
from farm import auth, lease, postgres
from farm.auth import Kind, Principal, Scope
from farm.connection import LONGEST_LINE
from farm.herald import reach_of
from farm.home import Home
from farm.lease import ENDED, Member
from farm.refusal import Unavailable

if TYPE_CHECKING:
    import ssl

    from farm.context import Farm

log = logging.getLogger(__name__)

CONNECT_S = 5.0
ENDED_S = 15.0
FORWARDED = "farm-forwarded"  # a header: the request is not to be sent on once more
TOKEN_LIFE = timedelta(days=1)
_UP = "start it with `farm up`, or `farm up --standby` where another one may lead"
_REMEDY = "look at that process, or let another one take over: `farm up --standby`"


class NoLeader(Unavailable):
    """Nobody leads this farm."""

    retry_s = 2

    def __init__(self, where: str) -> None:
        super().__init__("no process leads the farm just now, and only one that leads can do that", where, _UP)


class Deaf(Unavailable):
    """Somebody leads it, and does not answer us. `unsure`: it may have done what was asked."""

    retry_s = 2

    def __init__(self, what: str, where: str = "", remedy: str = "", unsure: bool = False) -> None:
        super().__init__(what, where, remedy)
        self.unsure = unsure


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; `who` has made it, where that is known. Header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    who: Principal | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the leader answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Way:
    """To a leader: the path of its socket, else a URL and whom to trust there."""

    who: str
    socket: str = ""
    url: str = ""
    ca: str = ""


class LeaderLink:
    """`look` is to be called every second or so; all else works with what it found."""

    def __init__(self, farm: "Farm") -> None:
        self._farm = farm
        self.leader: Member | None = None  # the last one
        self.led = False  # it does so now, as far as is known
        self._far = ("", "")
        self._tokens: dict[str, tuple[str, datetime]] = {}  # by owner: ours, and until when

    # ── who leads ──

    def look(self) -> None:
        """Raises SQLAlchemyError."""
        db = self._farm.db
        with db.read() as tx:
            found = lease.leader(tx)
            served = db.sqlite or bool(postgres.served(tx))
        far = found is not None and served and not self._beside(found)
        self._far = reach_of(self._farm, found) if far and found else ("", "")
        self.leader, self.led = found, found is not None and served and self._lives(found)

    def _beside(self, who: Member) -> bool:
        return who.host == socket.gethostname()

    def _lives(self, who: Member) -> bool:
        return Process(who.pid, who.started).alive() if self._beside(who) else who.state != ENDED

    def _way(self) -> _Way:
        """Raises NoLeader, Deaf."""
        who = self.leader
        if who is None or not self.led:
            raise NoLeader(self._farm.db.where)
        if self._beside(who):
            return _Way(str(who), socket=str(Home(Path(who.home)).socket))
        url, ca = self._far
        if not url:
            what = f"{who} leads the farm, and listens to nobody on other machines"
            raise Deaf(what, self._farm.db.where, "start it with `farm up --listen HOST:PORT`")
        return _Way(str(who), url=url, ca=ca)

    # ── asking it ──

    async def ask(self, asked: Asked, patience_s: float) -> Reply:
        """What the leader answers. Raises NoLeader, Deaf."""
        try:
            way = self._way()
        except (NoLeader, Deaf):
            await asyncio.to_thread(self._look_again)  # another one may lead by now
            way = self._way()
        try:
            return await self._asked(way, asked, patience_s)
        except Deaf as error:
            await asyncio.to_thread(self._look_again)
            if error.unsure or self._way() == way:
                raise
        return await self._asked(self._way(), asked, patience_s)

    def ended(self, job: int) -> Any:
        """What the leader says of a job that has ended, once what it made is published and all that it cost is booked;
        None where it says nothing. To be called in a thread of the event loop's."""
        from anyio import from_thread

        told = {"authorization": f"Bearer {self._farm.home.token()}"}
        me = auth.home_principal("farm")
        asked = Asked("GET", f"/v1/jobs/{job}/wait?timeout=0&tasks=false", told, who=me)
        try:
            reply = from_thread.run(self.ask, asked, ENDED_S)
        except (NoLeader, Deaf):
            return None
        return json.loads(reply.body) if reply.status == 200 else None

    def _look_again(self) -> None:
        try:
            self.look()
        except SQLAlchemyError as error:
            log.info("who leads can't be told: %s", error)

    async def _asked(self, way: _Way, asked: Asked, patience_s: float) -> Reply:
        sent = await self._bytes(way, asked)
        began = False
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await _opened(way)
            try:
                async with asyncio.timeout(patience_s):
                    began = True
                    writer.write(sent)
                    await writer.drain()
                    return await _reply(reader)
            finally:
                writer.close()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise _deaf(way, error, began and asked.method == "POST") from error

    async def _bytes(self, way: _Way, asked: Asked) -> bytes:
        there, own = urlsplit(way.url), {"connection": "close", FORWARDED: "1", "content-length": str(len(asked.body))}
        told = {"host": there.netloc or "farm", **own, **asked.headers}  # a proxy goes by it, and by the path
        if way.url and asked.who is not None and asked.who.kind == Kind.HOME:  # that token is good on its machine only
            told["authorization"] = f"Bearer {await asyncio.to_thread(self._own_token, asked.who.owner)}"
        first = f"{asked.method} {there.path}{asked.target} HTTP/1.1"
        lines = [first, *(f"{name}: {value}" for name, value in told.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + asked.body

    def _own_token(self, owner: str) -> str:
        """One with which this process speaks for the farm's own user."""
        now = self._farm.clock.now()
        token, until = self._tokens.get(owner, ("", now))
        if until - now < TOKEN_LIFE / 4:
            until, name = now + TOKEN_LIFE, f"API on {socket.gethostname()}"
            about = {"owner": owner, "name": name, "scopes": (Scope.ADMIN,), "expires": until}
            with self._farm.db.write() as tx:
                _, token = auth.create_token(tx, Kind.PERSON, now, **about)  # type: ignore[arg-type]
            self._tokens[owner] = token, until
        return token


async def _opened(way: _Way) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
    if way.socket:
        return await asyncio.open_unix_connection(way.socket, limit=LONGEST_LINE)
    parts = urlsplit(way.url)
    tls = _trusting(way.ca) if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    return await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=LONGEST_LINE)


def _trusting(ca: str) -> "ssl.SSLContext":
    import ssl

    return ssl.create_default_context(cadata=ca or None)


async def _reply(reader: asyncio.StreamReader) -> Reply:
    """Raises ValueError for what is no answer of a farm."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if "content-length" in headers:
        return Reply(status, headers, await reader.readexactly(int(headers["content-length"])))
    return Reply(status, headers, await reader.read())


def _deaf(way: _Way, error: BaseException, unsure: bool) -> Deaf:
    gone = isinstance(error, FileNotFoundError | ConnectionRefusedError)
    why = "does not answer" if isinstance(error, TimeoutError) else f"went away ({type(error).__name__})"
    what = f"the leader, {way.who}, {'is starting or ending' if gone else why}"
    if unsure:
        what += ", and whether it has carried this out is not known"
    return Deaf(what, way.url or way.socket, "try again in a moment" if gone else _REMEDY, unsure)
