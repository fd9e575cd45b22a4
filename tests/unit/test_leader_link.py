"""How one that does not lead asks the leader on another machine, and what it says when that is not to be had."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.auth import home_principal
from farm.leader_link import Asked, Deaf, LeaderLink, NoLeader
from farm.lease import Member
from tests.unit.tls_farm import TlsFarm

PATIENCE_S = 60.0


class Abroad(LeaderLink):
    """Its leader is on another machine, at this URL."""

    def __init__(self, served: TlsFarm, url: str, ca: str) -> None:
        super().__init__(served.farm)
        self.leader, self.led, self._far = Member.here(served.farm.home, served.farm.clock), True, (url, ca)

    def look(self) -> None:
        """All as it was."""

    def _beside(self, who: Member) -> bool:
        return False


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TlsFarm]:
    with TlsFarm(tmp_path) as made:
        yield made


def asked(link: LeaderLink, served: TlsFarm, path: str, method: str = "GET", patience_s: float = PATIENCE_S) -> Any:
    """What the leader answers the farm's own user."""
    headers = {"authorization": f"Bearer {served.farm.home.token()}", "content-type": "application/json"}
    who = home_principal("ada")
    reply = asyncio.run(link.ask(Asked(method, path, headers, b"{}" if method == "POST" else b"", who), patience_s))
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def test_it_is_asked_by_tls_and_with_a_token_of_its_own_for_the_homes_is_good_on_its_machine_only(
    served: TlsFarm,
) -> None:
    link = Abroad(served, f"https://127.0.0.1:{served.listener.port}", served.listener.ca())
    found = asked(link, served, "/v1/jobs?limit=2")
    assert len(found["jobs"]) == 2
    assert asked(link, served, "/v1/jobs/1/cancel", "POST") == {"changed": 1}
    tokens = asked(link, served, "/v1/tokens")["tokens"]
    assert [(one["owner"], one["name"]) for one in tokens] == [("ada", f"API on {socket.gethostname()}")]


def test_who_is_not_the_leader_is_not_trusted(served: TlsFarm, tmp_path: Path) -> None:
    with TlsFarm(tmp_path / "other") as other:
        link = Abroad(served, f"https://127.0.0.1:{served.listener.port}", other.listener.ca())
        with pytest.raises(Deaf):
            asked(link, served, "/v1/jobs")


def test_one_that_does_not_answer_and_one_that_listens_nowhere_are_told_of(served: TlsFarm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Deaf, match="does not answer, and whether it has carried this out is not known") as caught:
            asked(Abroad(served, url, ""), served, "/v1/jobs/1/cancel", "POST", 0.2)
    assert caught.value.unsure
    with pytest.raises(Deaf, match="listens to nobody on other machines") as caught:
        asked(Abroad(served, "", ""), served, "/v1/jobs")
    assert "--listen" in caught.value.remedy


def test_nobody_leads(served: TlsFarm) -> None:
    link = LeaderLink(served.farm)
    link.look()
    with pytest.raises(NoLeader) as caught:
        asked(link, served, "/v1/jobs")
    assert "farm up" in caught.value.remedy


def test_behind_a_proxy_it_is_asked_by_its_name_and_below_its_path(served: TlsFarm) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            link = Abroad(served, f"http://127.0.0.1:{port}/f", "")
            await link.ask(Asked("GET", "/v1/jobs?limit=2", {}), PATIENCE_S)
            assert heard[0].startswith(b"GET /f/v1/jobs?limit=2 HTTP/1.1\r\n")
            assert f"host: 127.0.0.1:{port}\r\n".encode() in heard[0]

    asyncio.run(ask())


def test_who_has_asked_before_lends_nobody_the_name(served: TlsFarm) -> None:
    link = Abroad(served, f"https://127.0.0.1:{served.listener.port}", served.listener.ca())

    def ask(owner: str) -> set[str]:
        who = Asked("GET", "/v1/tokens", {}, who=home_principal(owner))
        reply = asyncio.run(link.ask(who, PATIENCE_S))
        return {one["owner"] for one in json.loads(reply.body)["tokens"]}

    assert ask("farm") == {"farm"}
    assert ask("ada") == {"ada", "farm"}
    assert (
        len(
            json.loads(
                asyncio.run(link.ask(Asked("GET", "/v1/tokens", {}, who=home_principal("ada")), PATIENCE_S)).body
            )["tokens"]
        )
        == 2
    )
