"""Logging in to a farm elsewhere: whom to trust, where the token is kept, what is told when something is wrong."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from farm.address import parse_address
from farm.login import Login, checked_token, find_login, login_file, read_login, write_login
from farm.refusal import Refusal
from tests.journeys.far import Far
from tests.unit.certificates import Authority

TOKEN = "farm_0123456789_a-good-token"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        given = self.headers["Authorization"]
        self.server.given.append((self.path, given))
        if self.path == "/v1/ca":
            return self.answer(200, {"ca": self.server.ca, "fingerprint": "of no use"})
        if given != f"Bearer {TOKEN}":
            return self.answer(401, {"error": {"what": "no token, or a wrong one", "where": "", "remedy": ""}})
        return self.answer(200, {"jobs": []})

    def answer(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"Farm-Api": "1", "Farm-Version": "0", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, authority: Authority, folder: Path, *names: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ca, self.given = authority.pem, []
        self.socket = authority.context(folder, *names).wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_port}"

    def handle_error(self, *_):
        pass  # a handshake that failed, which is what is tried


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server(authority, tmp_path) -> Iterator[Server]:
    yield from serving(Server(authority, tmp_path))


def serving(made: Server) -> Iterator[Server]:
    with made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def far(tmp_path) -> Far:
    return Far(tmp_path / "far")


@pytest.fixture
def token(tmp_path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return str(path)


def kept(far: Far) -> Path:
    return far.home / ".config" / "farm" / "login.json"


def test_a_new_authority_is_learned_over_the_connection_that_is_still_trusted(server, authority, far):
    kept = far.home / ".config" / "farm" / "login.json"
    write_login(Login(parse_address(server.url, ""), TOKEN, authority.pem), kept)
    server.ca = new = Authority().pem
    far("jobs")
    assert read_login(kept).ca == authority.pem  # not asked with every command
    os.utime(kept, (1, 1))
    far("jobs")
    assert read_login(kept) == Login(parse_address(server.url, ""), TOKEN, new)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path for path, _ in server.given].count("/v1/ca") == 1


@pytest.mark.parametrize("told", ["", "nonsense", None])
def test_what_is_no_authority_takes_no_ones_place(server, authority, far, told):
    kept = far.home / ".config" / "farm" / "login.json"
    write_login(Login(parse_address(server.url, ""), TOKEN, authority.pem), kept)
    os.utime(kept, (1, 1))
    server.ca = told
    far("jobs")
    assert read_login(kept).ca == authority.pem


def test_with_the_right_fingerprint_the_authority_is_pinned(far, server, token, authority):
    far("login", server.url, "--fingerprint", f"SHA256:{authority.fingerprint}", "--token-file", token)
    assert json.loads(kept(far).read_text()) == {"url": server.url, "token": TOKEN, "ca": authority.pem}
    assert stat.S_IMODE(kept(far).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept(far).parent.stat().st_mode) == 0o700
    far("jobs")
    assert server.given[-1] == ("/v1/jobs?limit=50", f"Bearer {TOKEN}")
    assert "logged out" in far("logout")
    assert not kept(far).exists()
    assert "no login" in far("logout")


def test_nothing_secret_is_sent_before_it_is_known_to_whom(far, server, token):
    said = far.says("login", server.url, "--fingerprint", "AB:" * 31 + "AB", "--token-file", token, status=3)
    assert "somebody may be in between" in said
    assert [path for path, given in server.given if TOKEN in (given or "")] == []
    assert {path for path, _ in server.given} == {"/v1/ca"}
    assert not kept(far).exists()


def test_an_authority_that_nobody_confirms_is_not_trusted(far, server, token, authority):
    process = far.start("login", server.url, "--token-file", token, stdin=-1)
    _, err = process.communicate("yes\n", timeout=60)  # no terminal: whoever pipes into it confirms nothing
    shown = ":".join(authority.fingerprint.upper()[at : at + 2] for at in range(0, 64, 2))
    assert process.returncode == 2
    assert shown in err
    assert "--fingerprint" in err
    assert not kept(far).exists()


def test_the_token_comes_by_stdin_and_the_authority_by_a_file(far, server, tmp_path, authority):
    (tmp_path / "ca.pem").write_text(authority.pem)
    process = far.start("login", server.url, "--ca", str(tmp_path / "ca.pem"), stdin=-1)
    out, err = process.communicate(f"{TOKEN}\n", timeout=60)
    assert (process.returncode, f"logged in to {server.url}" in out) == (0, True), err
    process = far.start("login", server.url, "--ca", str(tmp_path / "ca.pem"), stdin=-1)
    _, err = process.communicate("farm_9876543210_a-bad-token\n", timeout=60)
    assert process.returncode == 3
    assert "a wrong one" in err
    assert "a-bad-token" not in err
    assert json.loads(kept(far).read_text())["token"] == TOKEN, "what was good stays"


def test_another_authority_name_or_date_is_not_trusted(far, server, token, tmp_path, authority):
    (tmp_path / "ca.pem").write_text(Authority().pem)
    said = far.says("login", server.url, "--ca", str(tmp_path / "ca.pem"), "--token-file", token, status=3)
    assert "its certificate is not trusted" in said
    env = {"FARM_URL": server.url, "FARM_TOKEN": TOKEN}
    for more in ({}, {"FARM_CA": str(tmp_path / "ca.pem")}):
        assert "its certificate is not trusted" in far.says("jobs", status=3, env=env | more)
    (tmp_path / "other").mkdir()
    (tmp_path / "ca.pem").write_text(authority.pem)
    for other in serving(Server(authority, tmp_path / "other", "elsewhere.example.org")):
        said = far.says("jobs", status=3, env=env | {"FARM_URL": other.url, "FARM_CA": str(tmp_path / "ca.pem")})
        assert "its certificate is not trusted: Hostname mismatch" in said
        assert other.given == []
    assert server.given == []


def test_files_that_are_no_certificates_or_tokens_are_told(far, server, token, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for words, said in [
        (("--ca", str(tmp_path / "absent")), "can't be read: No such file"),
        (("--ca", str(empty)), "no certificate in PEM"),
        (("--ca", str(broken)), "no certificate in PEM"),
        (("--fingerprint", "AB:CD"), "no SHA-256"),
    ]:
        assert said in far.says("login", server.url, "--token-file", token, *words, status=2)
    words = ("login", "http://localhost:1", "--token-file")
    assert "the token is empty" in far.says(*words, str(empty), status=2)
    assert "can't be read" in far.says(*words, str(tmp_path / "absent"), status=2)


def test_a_login_that_has_no_effect_says_so(far, server, token, authority):
    words = ("login", server.url, "--fingerprint", authority.fingerprint, "--token-file", token)
    process = far.start(*words, env={"FARM_HOME": "/nowhere"})
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "FARM_HOME is set" in err) == (0, True)
    far(*words)
    assert far.err == ""


def test_a_login_that_others_can_read_is_refused(far, server, token, authority):
    far("login", server.url, "--fingerprint", authority.fingerprint, "--token-file", token)
    kept(far).chmod(0o640)
    said = far.says("jobs", status=3)
    assert "others can read the login file" in said
    assert f"chmod 600 {kept(far)}" in said
    kept(far).chmod(0o600)
    kept(far).write_text('{"url": ')
    assert "the login file is damaged" in far.says("jobs", status=3)
    far("logout")


def test_no_command_shows_the_token_to_the_machine(far, server, token, authority):
    far("login", server.url, "--fingerprint", authority.fingerprint, "--token-file", token)
    process = far.start("jobs")
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, err = process.communicate(timeout=60)
    assert TOKEN not in shown.decode() + out + err


# ── Which farm is meant ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def alone(tmp_path, monkeypatch):
    for name in ("FARM_URL", "FARM_TOKEN", "FARM_CA", "FARM_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_the_environment_goes_before_the_file_and_takes_from_it_what_is_missing(alone, monkeypatch):
    assert find_login() is None
    mine = Login(parse_address("https://a.example:1", ""), "t1", "c1")
    write_login(mine, login_file())
    assert find_login() == mine
    monkeypatch.setenv("FARM_URL", "https://a.example:1/")
    assert find_login() == mine
    monkeypatch.setenv("FARM_TOKEN", "t2")
    assert find_login() == Login(mine.address, "t2", "c1")
    monkeypatch.setenv("FARM_URL", "https://b.example:1")
    assert find_login() == Login(parse_address("https://b.example:1", ""), "t2", "")
    monkeypatch.delenv("FARM_TOKEN")
    with pytest.raises(Refusal, match="no token for that farm"):
        find_login()


def test_a_login_shows_neither_token_nor_certificate():
    shown = repr(Login(parse_address("https://a.example", ""), "t-secret", "c-long"))
    assert "t-secret" not in shown
    assert "c-long" not in shown


@pytest.mark.parametrize("damage", ["[]", '{"url": "https://a.example"}', '{"url": 1, "token": "x"}', "\xff", ""])
def test_a_damaged_login_is_told(alone, damage):
    write_login(Login(parse_address("https://a.example", ""), "t"), login_file())
    login_file().write_text(damage, encoding="latin-1")
    with pytest.raises(Refusal):
        read_login(login_file())


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("https://farm.example.org", "https://farm.example.org"),
        ("https://farm.example.org:443/", "https://farm.example.org"),
        ("https://farm.example.org:8443/below/it/", "https://farm.example.org:8443/below/it"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://LOCALHOST", "http://localhost"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_addresses(text, whole):
    assert str(parse_address(text, "URL")) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "farm",
        "farm:8443",
        "//farm",
        "https://",
        "https://:8443",
        "https://farm:port",
        "https://farm:70000",
        "https://farm?x=1",
        "https://farm#x",
        "https://fa rm",
        "https://farm/\x1b[2J",
        "https://a:b@farm",
        "a:b@farm",
        "file:///etc/passwd",
        "http://10.0.0.1",
        "http://127.0.0.1.nip.io",
        "http://[::2]",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(Refusal) as caught:
        parse_address(text, "URL")
    assert caught.value.remedy


def test_a_password_in_an_address_is_not_repeated():
    for text in ("https://ada:hushhush@farm", "ada:hushhush@farm", "https://ada:hushhush@farm:99999"):
        with pytest.raises(Refusal) as caught:
            parse_address(text, "URL")
        assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "two words", "ü", "a\nb", "a\x00b", "x" * 5000])
def test_what_is_no_token_is_not_repeated(text):
    with pytest.raises(Refusal) as caught:
        checked_token(text, "FARM_TOKEN")
    assert len(str(caught.value)) < 200
