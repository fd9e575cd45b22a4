"""A farm that others can reach, as its operator and a person elsewhere meet it: a real service, TLS, tokens."""

import http.client
import json
import os
import re
import resource
import socket
import ssl
import tempfile
from pathlib import Path

import pytest

from farm.listening import own_addresses
from tests.contract.yard import eventually
from tests.journeys.shell import Shell

SETTINGS = '[site]\nengine = "plain"\n[pools.local]\nceiling = 1\n'


class Farm(Shell):
    """Its operator types; `ask` is somebody elsewhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home", folder)
        self.home.mkdir()
        (self.home / "farm.toml").write_text(SETTINGS)
        self.offset = folder / "offset"
        self.offset.write_text("0")
        self.env["FARM_CLOCK_OFFSET"] = str(self.offset)
        before = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        try:
            self.said = self("up", "--listen", "0.0.0.0:0")
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, before)
        self.port = self.json("status")["listening"]["port"]
        self.ca = self("ca", "show")

    def ask(self, method, path, secret="", body=None, ca=None, server="localhost"):
        """(status, what is said) over TLS."""
        context = ssl.create_default_context(cadata=ca or self.ca)
        connection = http.client.HTTPSConnection(server, self.port, context=context, timeout=60)
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {secret}"} if secret else {})}
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            said = answer.read()
            return answer.status, json.loads(said) if said.startswith((b"{", b"[")) else said.decode()
        finally:
            connection.close()

    def token(self, *words):
        made = self.json("token", "create", *words)
        return made["id"], made["secret"]


@pytest.fixture(scope="module")
def farm():
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        made = Farm(Path(folder))
        try:
            yield made
        finally:
            made("down", "--terminate")
            assert not (made.home / "listening.json").exists()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", made.port))


def test_up_says_where_it_is_reached_and_by_which_fingerprint(farm):
    listening = farm.json("status")["listening"]
    assert listening == json.loads((farm.home / "listening.json").read_text())
    assert f"others reach it at {listening['url']}\n" in farm.said
    assert listening["fingerprint"] in farm.said
    assert f"SHA-256 fingerprint: {listening['fingerprint']}\n" in farm.ca
    assert farm.ask("GET", "/v1/ca")[1]["fingerprint"] == listening["fingerprint"]


def test_somebody_elsewhere_works_with_a_token(farm):
    _, secret = farm.token("--owner", "ada", "--expires", "30d")
    job = {"name": "hello", "owner": "somebody else", "steps": [{"argv": ["echo", "hello"]}]}
    status, made = farm.ask("POST", "/v1/jobs", secret, job)
    assert status == 201
    seen = 0
    while (found := farm.ask("GET", f"/v1/jobs/{made['id']}/wait?timeout=20&seen={seen}", secret)[1])[
        "state"
    ] != "done":
        assert found["state"] in ("queued", "running")
        seen = found["seen"]
    assert found["owner"] == "ada"
    assert farm.ask("GET", f"/v1/logs/{made['id']}.1", secret)[1] == "hello\n"
    (row,) = farm.json("report", "cost", "--by", "owner")["rows"]
    assert row["key"] == "ada"


def test_the_machine_is_reached_by_every_name_and_address(farm):
    for name in ("localhost", "127.0.0.1", socket.gethostname()):
        try:
            socket.getaddrinfo(name, farm.port, socket.AF_INET)
        except socket.gaierror:
            continue  # a machine that does not know its own name
        assert farm.ask("GET", "/v1/status", server=name)[0] == 401


@pytest.mark.parametrize("secret", ["", "nonsense", "farm_0123456789_" + "A" * 43, "x" * 10_000])
def test_a_bad_token_is_refused_in_a_sentence(farm, secret):
    before = farm.json("status")["refused"]
    status, said = farm.ask("GET", "/v1/status", secret)
    assert status == 401
    assert said["error"]["what"] == "no token, or a wrong one"
    assert "farm token create" in said["error"]["remedy"]
    assert farm.json("status")["refused"] == before + 1


def test_the_homes_own_token_is_good_on_its_machine_only(farm):
    own = (farm.home / "token").read_text()
    assert farm.ask("GET", "/v1/status", own)[0] == 200
    for address in {one for one in own_addresses() if "." in one} - {"127.0.0.1"}:
        status, said = farm.ask("GET", "/v1/status", own, server=address)
        assert (status, said["error"]["where"]) == (403, "Authorization")
        assert "farm token create" in said["error"]["remedy"]


def test_a_token_gives_what_its_scopes_say(farm):
    _, secret = farm.token("--owner", "ada", "--scope", "read")
    status, said = farm.ask("POST", "/v1/jobs", secret, {"name": "n", "owner": "ada", "steps": [{"argv": ["true"]}]})
    assert (status, said["error"]["what"]) == (403, "this token has not the scope submit")
    assert "--scope submit" in said["error"]["remedy"]


def test_a_revoked_token_is_good_for_nothing_at_once(farm):
    number, secret = farm.token("--owner", "ada", "--scope", "read", "--name", "laptop")
    assert farm.ask("GET", "/v1/status", secret)[0] == 200
    assert number in farm("token", "list")
    assert farm("token", "revoke", number) == f"token {number} is good for nothing any more\n"
    status, said = farm.ask("GET", "/v1/status", secret)
    assert (status, said["error"]["what"]) == (401, "this token is revoked")
    assert number not in farm("token", "list")
    assert number in farm("token", "list", "--all")
    farm("token", "revoke", number, status=2)
    assert "farm token list" in farm.err


def test_a_wrong_authority_and_plain_http_get_nowhere(farm):
    before = farm.json("status")["refused"]
    with (
        socket.create_connection(("127.0.0.1", farm.port), timeout=60) as wire,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(wire, server_hostname="localhost")
    plain = http.client.HTTPConnection("127.0.0.1", farm.port, timeout=60)
    plain.request("GET", "/v1/status", headers={"Authorization": "Bearer x"})
    assert plain.getresponse().status == 400
    plain.close()
    eventually(lambda: farm.json("status")["refused"] >= before + 2)


def test_a_new_authority_needs_no_restart_and_cuts_nobody_off(farm):
    pid = farm.json("status")["processes"][0]["pid"]
    _, secret = farm.token("--owner", "ada", "--scope", "read")
    old = farm.ca
    said = farm("ca", "rotate")
    new = farm("ca", "show")
    assert said in new
    assert new != old
    for ca in (old, new):
        assert farm.ask("GET", "/v1/status", secret, ca=ca)[0] == 200
    farm("ca", "rotate", "--now")
    farm.ca = farm("ca", "show")
    for ca in (old, new):
        with pytest.raises(ssl.SSLCertVerificationError):
            farm.ask("GET", "/v1/status", secret, ca=ca)
    assert farm.ask("GET", "/v1/status", secret)[0] == 200
    status = farm.json("status")
    assert status["processes"][0]["pid"] == pid
    assert status["listening"]["fingerprint"] in farm.ca


def test_nothing_but_what_was_told_listens(farm):
    processes = [one["pid"] for one in farm.json("status")["processes"]]
    assert {port for pid in processes for port in listening_ports(pid)} == {farm.port}


def listening_ports(pid):
    """TCP ports on which a process listens, by /proc (proc(5): state 0A is LISTEN); none of one that has ended."""
    try:
        inodes = set(_sockets(pid))
        tables = [Path(f"/proc/{pid}/net/{table}").read_text() for table in ("tcp", "tcp6")]
    except FileNotFoundError:
        return
    for table in tables:
        for line in table.splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                yield int(words[1].rpartition(":")[2], 16)


def _sockets(pid):
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(descriptor).removeprefix("socket:[").removesuffix("]")
        except OSError:
            continue


def test_a_second_up_says_when_it_would_listen_elsewhere(farm):
    assert "was up already" in farm("up", "--listen", f"0.0.0.0:{farm.port}")
    farm("up", "--listen", "127.0.0.1:1", status=2)
    assert f"listens at 0.0.0.0:{farm.port}" in farm.err
    farm("up", "--listen", "nowhere", status=2)
    assert "0.0.0.0:8443" in farm.err


def test_those_who_were_let_in_are_let_in_after_a_restart(farm):
    _, secret = farm.token("--owner", "ada", "--scope", "read")
    farm("down", "--keep")
    farm("up", "--listen", f"0.0.0.0:{farm.port}")
    assert farm.ask("GET", "/v1/status", secret)[0] == 200
    (one,) = [t for t in farm.json("token", "list")["tokens"] if t["id"] == secret.split("_")[1]]
    assert one["used"] is not None


def test_no_token_is_seen_where_others_look(farm):
    """In arguments and environments of processes, in logs and errors, in the database and every file but its own."""
    number, secret = farm.token("--owner", "ada", "--scope", "read")
    hidden = {secret.split("_", 2)[2].encode(), (farm.home / "token").read_bytes()}
    farm.ask("GET", f"/v1/jobs/{secret}", secret[:-1] + "_")
    farm.ask("POST", f"/v1/tokens/{secret}/revoke", secret, {})
    farm("token", "revoke", secret)
    eventually(lambda: number in (farm.home / "service.log").read_text())
    for pid in (one["pid"] for one in farm.json("status")["processes"]):
        try:
            limits, *shown = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("limits", "cmdline", "environ"))
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        assert re.search(rb"Max core file size +0 ", limits)
        assert not [word for word in hidden if word in b"".join(shown)]
    for file in (one for one in farm.home.rglob("*") if one.is_file() and one.name != "token"):
        assert not [word for word in hidden if word in file.read_bytes()], file


def test_a_token_ends_when_its_time_is_up(farm):
    """The last one: it turns the clock of the whole farm."""
    _, secret = farm.token("--owner", "ada", "--scope", "read", "--expires", "1h")
    assert farm.ask("GET", "/v1/status", secret)[0] == 200
    farm.offset.write_text("3700")
    status, said = farm.ask("GET", "/v1/status", secret)
    assert (status, said["error"]["what"]) == (401, "this token is expired")
