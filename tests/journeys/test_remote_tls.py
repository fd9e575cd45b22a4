"""The same over TLS to a farm that listens, with a token of a person, over a wire that is cut."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.journeys.far import SETTINGS, Far
from tests.journeys.proxy import Proxy
from tests.journeys.shell import Shell
from tests.journeys.test_remote import Talking, heard


class Listening:
    """A farm on a port with TLS, a wire to it, and somebody who has logged in at the far end."""

    def __init__(self, folder: Path) -> None:
        (folder / "home").mkdir()
        (folder / "home" / "farm.toml").write_text(SETTINGS)
        self.shell = Shell(folder / "home", folder)
        self.shell("up", "--listen", "0.0.0.0:0")
        told = self.shell.json("status")["listening"]
        self.proxy = Proxy(lambda: socket.create_connection(("127.0.0.1", told["port"])))
        self.url, self.fingerprint = f"https://localhost:{self.proxy.port}", told["fingerprint"]
        self.token = self.shell("token", "create", "--owner", "ada").split()[0]
        (folder / "token").write_text(self.token)
        self.far = Far(folder / "far")
        words = ("login", self.url, "--fingerprint", self.fingerprint, "--token-file", str(folder / "token"))
        assert f"logged in to {self.url}" in self.far(*words)

    def close(self) -> None:
        self.proxy.close()
        self.shell("down", "--terminate")


@pytest.fixture(scope="module")
def farm() -> Iterator[Listening]:
    with tempfile.TemporaryDirectory(prefix="fs-") as folder:
        made = Listening(Path(folder))
        try:
            yield made
        finally:
            made.close()


def test_work_goes_there_and_comes_back_booked_on_who_logged_in(farm):
    (farm.far.cwd / "in").write_text("hello\n")
    words = ("--input", "in", "--output", "out", "--owner", "eve", "--fetch", "got", "--json")
    process = farm.far.start("submit", *words, "--", "sh", "-c", "tr a-z A-Z < in > out")
    said, remarks = process.communicate(timeout=120)
    lines = said.splitlines()
    assert "--owner eve does not count there: the job is booked on ada" in remarks
    assert (farm.far.cwd / "got" / "out").read_text() == "HELLO\n"
    assert json.loads(lines[-1])["owner"] == "ada"


def test_a_log_is_followed_over_a_wire_that_is_cut(farm, tmp_path):
    talking = Talking(farm.far, tmp_path)
    following = farm.far.start("logs", talking.job, "-f")
    shown = heard(following, 1)
    for _ in range(2):
        before = farm.proxy.refused
        farm.proxy.cut()
        talking.say(3)
        eventually(lambda seen=before: farm.proxy.refused >= seen + 2)
        farm.proxy.mend()
        shown += heard(following, 3)
    whole = talking.end()
    rest, err = following.communicate(timeout=60)
    assert ("".join(shown) + rest, following.returncode) == (whole, 0)
    assert err.count("trying again") == err.count("answers again") == 2


def test_an_upload_and_an_answer_that_are_cut_come_again(farm):
    (farm.far.cwd / "big").write_bytes(os.urandom(8 << 20))
    farm.proxy.cut_upload(3 << 20)
    before = len(farm.far.json("jobs", "--limit", "1000")["jobs"])
    farm.far("submit", "--wait", "--input", "big", "--output", "copy", "--fetch", "back", "--", "cp", "big", "copy")
    assert farm.proxy.happened.is_set()
    assert (farm.far.cwd / "back" / "copy").read_bytes() == (farm.far.cwd / "big").read_bytes()
    assert len(farm.far.json("jobs", "--limit", "1000")["jobs"]) == before + 1


def test_a_token_that_was_revoked_is_told(farm):
    farm.far("jobs")
    (farm.far.cwd / "other").write_text(farm.shell("token", "create", "--owner", "bob").split()[0])
    bob = Far(farm.far.cwd / "bob")
    words = ("--fingerprint", farm.fingerprint, "--token-file", str(farm.far.cwd / "other"))
    bob("login", farm.url, *words)
    farm.shell("token", "revoke", next(one["id"] for one in tokens(farm) if one["owner"] == "bob"))
    said = bob.says("jobs", status=3)
    assert f"farm login {farm.url}" in said
    assert (farm.far.cwd / "other").read_text() not in said
    assert "scope operate" in farm.far.says("stop-spending", status=2)


def tokens(farm: Listening) -> list[dict[str, str]]:
    return farm.shell.json("token", "list")["tokens"]


def test_a_new_authority_is_known_to_who_trusts_the_old_one_until_the_overlap_ends(farm):
    farm.shell("ca", "rotate")
    farm.far("jobs")
    farm.shell("ca", "rotate", "--now")
    assert "its certificate is not trusted" in farm.far.says("jobs", status=3)
