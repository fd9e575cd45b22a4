"""A farm that others can reach: TLS and nothing but TLS, certificates that change while it runs."""

import json
import os
import socket
import ssl
import stat
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography.x509 import load_pem_x509_certificates

from farm import entrance, listening
from farm.api import wire
from farm.auth import Scope
from farm.clock import SystemClock, TurnedClock
from farm.config import BadConfig, ListenConfig, load
from farm.home import Home
from farm.listening import BadListening, Listener, own_addresses
from farm.place import Place, parse_place
from farm.porter import Porter
from farm.refusal import Refusal
from farm.tls import CA_LIFE, CA_SPARE, LIFE, Authority
from tests.contract.yard import eventually
from tests.unit.tls_farm import TlsFarm


@pytest.fixture
def farm(tmp_path):
    with TlsFarm(tmp_path) as made:
        yield made


def test_who_trusts_the_farm_gets_on_with_a_token(farm):
    _, secret = farm.token(Scope.READ)
    status, said = farm.ask("/v1/status", secret=secret)
    assert status == 200
    assert said["listening"] == json.loads(farm.farm.home.listening.read_text())
    assert said["listening"]["port"] == farm.listener.port
    assert said["listening"]["tls"] is True


def test_who_does_not_trust_it_says_nothing(farm):
    with pytest.raises(ssl.SSLCertVerificationError):
        farm.ask("/v1/status", ca=Authority(farm.farm.home.path / "other", "x", farm.clock).ca())
    eventually(lambda: "TLS: tlsv1 alert unknown ca" in farm.farm.refusals.told()["by"])


def test_plain_http_is_told_to_speak_tls(farm):
    with socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as plain:
        plain.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n")
        said = b"".join(iter(lambda: plain.recv(4096), b""))
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["remedy"] == "write https:// in the URL"
    assert farm.farm.refusals.told()["by"] == {"plain HTTP to the TLS port": 1}
    assert "secret" not in str(farm.farm.refusals.told())


def test_an_old_protocol_is_refused(farm):
    """A hello of TLS 1.1, which is also what somebody in between would make of ours."""
    hello = b"\x03\x02" + bytes(32) + b"\0" + b"\x00\x02\xc0\x13" + b"\x01\x00"
    shake = b"\x01" + len(hello).to_bytes(3) + hello
    with socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as plain:
        plain.sendall(b"\x16\x03\x01" + len(shake).to_bytes(2) + shake)
        assert closed(plain)
    eventually(lambda: "TLS: unsupported protocol" in farm.farm.refusals.told()["by"])


def test_what_is_neither_tls_nor_http_is_let_go(farm):
    with socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as plain:
        plain.sendall(b"\x15\x03\x01\x00\x02\x02\x28")
        assert closed(plain)
    assert farm.farm.refusals.told()["by"] == {"no TLS": 1}


def test_silence_ends(farm, monkeypatch):
    monkeypatch.setattr(entrance, "PATIENCE_S", 0.2)
    with socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as silent:
        assert closed(silent)
    with socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as half:
        half.sendall(b"\x16\x03\x01")
        assert closed(half)


def test_silence_after_the_handshake_ends_too(farm, monkeypatch):
    monkeypatch.setattr(wire, "PATIENCE_S", 0.5)
    for said in (b"", b"GET /v1/status HTTP/1.1\r\nX: "):
        with talk(farm) as safe:
            safe.sendall(said)
            assert closed(safe)
    assert farm.farm.refusals.told()["by"] == {"silence": 2}


def test_a_head_without_end_is_cut(farm):
    with talk(farm) as safe:
        safe.sendall(b"GET /v1/status HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert safe.recv(12) == b"HTTP/1.1 431"
    assert farm.farm.refusals.told()["by"] == {"a request without an end": 1}


def test_a_second_request_on_the_same_connection_has_its_own_time(farm):
    _, secret = farm.token(Scope.READ)
    request = f"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
    with talk(farm) as safe:
        for _ in range(3):
            safe.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += safe.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")


def test_there_are_not_more_connections_than_the_farm_can_bear(farm, monkeypatch):
    monkeypatch.setattr(entrance, "MOST", 3)
    crowd = [socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) for _ in range(6)]
    eventually(lambda: farm.farm.refusals.told()["by"].get("too many connections") == 3)
    for one in crowd:
        one.close()
    eventually(lambda: not farm.secure._server.server_state.connections)
    assert farm.ask("/v1/ca")[0] == 200


def test_nobody_is_heard_out_who_may_not_speak(farm):
    """The body of a call is not waited for, nor kept, before it is known whose it is."""
    with talk(farm) as safe:
        safe.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n{")
        assert safe.recv(12) == b"HTTP/1.1 401"
    with talk(farm) as safe:
        safe.sendall(b"POST /v1/join HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        assert safe.recv(12) == b"HTTP/1.1 413"


@contextmanager
def talk(farm):
    context = ssl.create_default_context(cadata=farm.listener.ca())
    with (
        socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as safe,
    ):
        yield safe


def closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_request_that_comes_with_the_end_of_the_handshake_is_heard(farm):
    """All in one packet: what was read with the handshake belongs to the request."""
    _, secret = farm.token(Scope.READ)
    context = ssl.create_default_context(cadata=farm.listener.ca())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", farm.listener.port), timeout=60) as wire:
        while True:
            try:
                talk.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire.sendall(outgoing.read())
                incoming.write(wire.recv(65536))
        talk.write(f"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
        wire.sendall(outgoing.read())
        wire.settimeout(30)
        answer = b""
        while not answer:
            incoming.write(wire.recv(65536))
            with suppress(ssl.SSLWantReadError):
                answer = talk.read(65536)
        assert answer.startswith(b"HTTP/1.1 200")


def test_a_large_answer_and_a_large_body_go_through(farm):
    _, secret = farm.token(Scope.SUBMIT)
    import hashlib

    data = os.urandom(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    assert farm.ask(f"/v1/store/{digest}", secret=secret, method="PUT", body=data)[0] == 201
    assert farm.farm.store.path(digest).read_bytes() == data


# ── Certificates ─────────────────────────────────────────────────────────────────────────────────


def test_the_certificate_is_renewed_before_its_end_and_without_a_restart(farm):
    first = farm.shown()
    farm.clock.turn(LIFE.total_seconds() * 0.6)
    Porter(farm.farm).turn()
    assert farm.shown()["serialNumber"] == first["serialNumber"]
    farm.clock.turn(LIFE.total_seconds() * 0.1)
    Porter(farm.farm).turn()
    second = farm.shown()
    assert second["serialNumber"] != first["serialNumber"]
    assert ssl.cert_time_to_seconds(second["notAfter"]) > ssl.cert_time_to_seconds(first["notAfter"])


def test_connections_live_on_while_it_is_renewed(farm):
    with talk(farm) as safe:
        safe.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n")
        farm.clock.turn(LIFE.total_seconds())
        assert farm.listener.tls.refresh()
        safe.sendall(b"\r\n")
        assert safe.recv(12) == b"HTTP/1.1 200"


def test_after_a_rotation_those_with_either_authority_get_on(farm):
    own = farm.listener.tls.source.authority
    authorities = [own.ca()]
    for _ in range(2):
        farm.clock.turn(60)
        own.rotate()
        assert farm.listener.tls.refresh()
        authorities.append(own.ca())
    assert len(set(authorities)) == 3
    _, secret = farm.token(Scope.READ)
    assert [farm.ask("/v1/status", ca=ca, secret=secret)[0] for ca in authorities] == [200, 200, 200]


def test_a_rotation_at_once_cuts_off_who_trusts_the_old_one(farm):
    own = farm.listener.tls.source.authority
    old = own.ca()
    assert own.rotate(timedelta()).until is None
    farm.listener.tls.refresh()
    with pytest.raises(ssl.SSLCertVerificationError):
        farm.ask("/v1/ca", ca=old)
    assert farm.ask("/v1/ca", ca=own.ca())[0] == 200


def test_the_overlap_ends(tmp_path):
    clock = TurnedClock(SystemClock().now())
    own = Authority(tmp_path / "tls", "f", clock)
    own.ready({"localhost"})
    own.rotate(timedelta(days=1))
    own.ready({"localhost"})
    assert own.server_file.read_text().count("BEGIN CERTIFICATE") == 2
    clock.turn(86_400 * 61)
    assert own.ready({"localhost"})
    assert own.server_file.read_text().count("BEGIN CERTIFICATE") == 1


def test_the_authority_is_replaced_in_good_time_before_its_own_end(farm, caplog):
    """By itself, logged, and nobody who trusts the old one is cut off while that holds."""
    own = farm.listener.tls.source.authority
    old = own.ca()
    farm.clock.turn((CA_LIFE - CA_SPARE).total_seconds() - 86_400)
    Porter(farm.farm).turn()
    assert own.ca() == old
    farm.clock.turn(2 * 86_400)
    Porter(farm.farm).turn()
    assert own.ca() != old
    assert own.fingerprint() in caplog.text
    assert json.loads(farm.farm.home.listening.read_text())["fingerprint"] == own.fingerprint()
    chain = load_pem_x509_certificates(own.server_file.read_bytes())
    first, cross = load_pem_x509_certificates(old.encode())[0], chain[1]
    cross.verify_directly_issued_by(first)
    assert cross.not_valid_after_utc == first.not_valid_after_utc
    for one in chain:
        assert one.not_valid_before_utc < farm.clock.now() < one.not_valid_after_utc
    farm.clock.turn(CA_SPARE.total_seconds())
    Porter(farm.farm).turn()
    assert len(load_pem_x509_certificates(own.server_file.read_bytes())) == 1


def test_a_clock_that_was_years_ahead_for_a_moment_cuts_nobody_off(farm):
    """It has made the authority seem to have ended."""
    old = farm.listener.ca()
    for seconds in (2 * CA_LIFE.total_seconds(), -2 * CA_LIFE.total_seconds()):
        farm.clock.turn(seconds)
        Porter(farm.farm).turn()
    assert farm.listener.ca() != old
    assert [farm.ask("/v1/ca", ca=ca)[0] for ca in (old, farm.listener.ca())] == [200, 200]


def test_other_names_make_another_certificate(tmp_path):
    own = Authority(tmp_path / "tls", "f", TurnedClock(SystemClock().now()))
    assert own.ready({"localhost", "10.0.0.7"})
    assert not own.ready({"localhost"})
    assert own.ready({"localhost", "farm.example.org"})


def test_keys_are_for_the_farms_user_alone(tmp_path):
    own = Authority(tmp_path / "tls", "f", TurnedClock(SystemClock().now()))
    own.ready({"localhost"})
    own.rotate()
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    private = [f for f in (tmp_path / "tls").iterdir() if b"PRIVATE" in f.read_bytes()]
    assert len(private) == 2
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in private)


def test_a_power_cut_in_the_middle_of_a_rotation_leaves_one_that_works(tmp_path):
    own = Authority(tmp_path / "tls", "f", TurnedClock(SystemClock().now()))
    own.ready({"localhost"})
    before = own.ca()
    own.rotate()
    (tmp_path / "tls" / "ca.pem").write_text(before)  # it had got as far as the authority itself
    assert own.ready({"localhost"})
    assert own.ca() != before


def test_a_given_certificate_is_shown_and_read_anew_when_it_changes(tmp_path):
    other = Authority(tmp_path / "elsewhere", "other", SystemClock())
    other.ready({"localhost", "127.0.0.1"})
    settings = f'[listen]\ncertificate = "{other.server_file}"\nca = "{tmp_path}/elsewhere/ca.pem"\n'
    (tmp_path / "home").mkdir()
    with TlsFarm(tmp_path / "home", settings) as farm:
        assert not farm.farm.home.tls.exists()
        first = farm.shown(other.ca())
        assert not farm.listener.tls.refresh()
        other.server_file.unlink()
        assert not farm.listener.tls.refresh()  # the one before stays
        assert farm.shown(other.ca())["serialNumber"] == first["serialNumber"]
        other.ready({"localhost", "127.0.0.1"})
        assert farm.listener.tls.refresh()
        assert farm.shown(other.ca())["serialNumber"] != first["serialNumber"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('certificate = "nothing.pem"', "no certificate that can be used: No such file"),
        ('certificate = "farm.toml"', "no certificate that can be used"),
    ],
)
def test_a_certificate_that_can_not_be_used_is_told(tmp_path, settings, words):
    home = Home(tmp_path).make()
    home.config_file.write_text(f"[listen]\n{settings}\n")
    with pytest.raises(BadListening, match=words) as refused:
        listening.opened(home, load(home.config_file).listen, "0.0.0.0:0", SystemClock())
    assert "[listen] certificate" in refused.value.where
    assert not home.listening.exists()


def test_settings_that_do_not_fit_are_told_with_their_line(tmp_path):
    for settings, words in (('key = "k.pem"', "add certificate"), ('url = "farm.example.org"', "is no URL")):
        (tmp_path / "farm.toml").write_text(f"[listen]\n{settings}\n")
        with pytest.raises(BadConfig, match="line 2") as refused:
            load(tmp_path / "farm.toml")
        assert words in str(refused.value)


# ── Where it listens ─────────────────────────────────────────────────────────────────────────────


def test_loopback_is_plain_http(tmp_path):
    home = Home(tmp_path).make()
    made = Listener(home, ListenConfig(), Place("127.0.0.1", 0), SystemClock())
    assert made.about() == {
        "address": f"127.0.0.1:{made.port}",
        "port": made.port,
        "url": f"http://127.0.0.1:{made.port}",
        "tls": False,
        "fingerprint": "",
        "moved": None,
    }
    assert not home.tls.exists()
    made.close()
    assert not home.listening.exists()


def test_a_farm_that_takes_any_port_takes_that_of_last_time(tmp_path):
    """Executors elsewhere and logins know it; where somebody else has it, that is told."""
    home, place = Home(tmp_path).make(), Place("127.0.0.1", 0)
    first = Listener(home, ListenConfig(), place, SystemClock())
    first.close()
    again = Listener(home, ListenConfig(), place, SystemClock())
    assert (again.port, again.about()["moved"]) == (first.port, None)
    moved = Listener(home, ListenConfig(), place, SystemClock())
    assert moved.port != first.port
    assert moved.about()["moved"] == first.port
    again.close()
    moved.close()
    home.last_port.write_text("nonsense")
    Listener(home, ListenConfig(), place, SystemClock()).close()


def test_the_certificate_holds_every_name_and_address_of_the_machine(farm):
    shown = farm.shown()["subjectAltName"]
    names = {str(ip_address(value)) if kind == "IP Address" else value for kind, value in shown}
    assert {"localhost", "127.0.0.1", socket.gethostname().lower()} <= names
    assert own_addresses() <= names


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0.0.0.0:8443", Place("0.0.0.0", 8443)),
        (":8443", Place("", 8443)),
        ("*:0", Place("", 0)),
        ("[::1]:1", Place("::1", 1)),
        ("farm.example.org:443", Place("farm.example.org", 443)),
    ],
)
def test_places(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text", ["", "8443", "host:", "host:x", "host:65536", "::1:80", "https://host:80", "h:-1", "a b:80"]
)
def test_what_is_no_place(tmp_path, text):
    with pytest.raises(Refusal) as refused:
        parse_place(text)
    assert refused.value.remedy
    with pytest.raises(BadListening, match="no place to listen") as refused:
        listening.opened(Home(tmp_path), ListenConfig(address=text), None, SystemClock())
    assert "[listen] address" in refused.value.where


def test_a_port_that_is_taken_is_told(tmp_path):
    home = Home(tmp_path).make()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadListening, match="in use") as refused:
            Listener(home, ListenConfig(), Place("127.0.0.1", port), SystemClock())
    assert str(port) in refused.value.remedy
    with pytest.raises(BadListening) as refused:
        Listener(home, ListenConfig(), Place("192.0.2.1", 0), SystemClock())
    assert "127.0.0.1" in refused.value.remedy


@pytest.mark.parametrize("place", ["127.0.0.1:0", ":0"])
def test_answers_do_not_wait_to_be_acknowledged(tmp_path, place):
    home = Home(tmp_path / "home").make()
    listener = Listener(home, ListenConfig(), parse_place(place, "--listen"), SystemClock())
    try:
        with socket.create_connection(("127.0.0.1", listener.port)), listener.socket.accept()[0] as taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("url", "straight"),
    [(None, ""), ("http://farm.example.org", ""), ("https://farm.example.org/f/", "https://farm.example.org/f")],
)
def test_on_loopback_nobody_is_sent_elsewhere_but_to_the_proxy(tmp_path, url, straight):
    """On another machine that port is of somebody else, who would be given tokens."""
    home = Home(tmp_path / "home")
    home.make()
    listener = Listener(home, ListenConfig(url=url), parse_place("127.0.0.1:0"), SystemClock())
    try:
        assert listener.straight == straight
    finally:
        listener.close()
