"""A farm at work with executors of each kind: only what was told listens, and Ray answers nobody without its token."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.site.proc import descendants
from executors.site.raylet import ray_folder
from farm.home import Home
from tests.contract.yard import eventually, tickets
from tests.machines.desks.desk import Desk
from tests.machines.desks.kinds import KINDS, desk
from tests.machines.ports import ray_answers, reachable

pytestmark = pytest.mark.timeout(900)  # the template of clones may have to be made first


@pytest.fixture(scope="module", params=KINDS)
def farm(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """At work."""
    with tempfile.TemporaryDirectory(prefix="fp-", dir="/tmp") as folder, desk(request.param, Path(folder)) as made:
        job = str(made.submit("--", "sleep", "800"))
        eventually(lambda: made.json("show", job)["state"] == "running", 3 * made.patience_s)
        yield made
        made("cancel", job)


def test_only_what_was_told_listens(farm: Desk) -> None:
    told = farm.json("status")["listening"]
    found = {int(place.rpartition(":")[2], 16) for place in reachable(everything(farm))}
    assert found == ({told["port"]} if told else set())


def everything(farm: Desk) -> set[int]:
    """The service, what it has started, and the executors with what they have, wherever on this host they are."""
    home = Home(farm.home)
    first = {pid for mark in (home.path, home.run) for pid in named(str(mark))} | {pid for pid, _run in executors(farm)}
    return first | {one for pid in first for one in descendants(pid)}


def named(mark: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "cmdline").read_bytes():
                yield int(folder.name)


def executors(farm: Desk) -> Iterator[tuple[int, str]]:
    """Their processes, and the folders of their sockets as they see them."""
    mine = {one["id"] for one in farm.executors()}
    for pid, file in tickets():
        with contextlib.suppress(OSError, ValueError):
            ticket = json.loads(Path(f"/proc/{pid}/root{file}").read_text())
            if ticket["executor"] in mine and ticket["farm"] == farm.json("status")["farm"]:
                yield pid, ticket["run"]


def test_its_ray_answers_nobody_without_the_token(farm: Desk) -> None:
    heads = [(pid, ray_folder(f"/proc/{pid}/root{run}")) for pid, run in executors(farm)]
    assert heads
    for pid, folder in heads:
        address = f"127.0.0.1:{json.loads((folder / 'head.json').read_text())['port']}"
        assert ray_answers(pid, address, str(folder / "token"))
        assert not ray_answers(pid, address, "")
        wrong = farm.cwd / "wrong"
        wrong.write_text("0" * 64)
        assert not ray_answers(pid, address, str(wrong))
