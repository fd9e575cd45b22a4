"""The farm's store as an executor elsewhere has it: fetched once, checked, bounded, and sent before anybody is told."""

import hashlib
import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from executors import remote_store
from executors.contract import FileRef
from executors.reach import BadAddress, Reach, renew_authority
from executors.remote_store import RemoteStore
from executors.store import Damaged, Missing

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUftZfHI/3Grsloe6E0PPSh1Gp6bQwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGQSBmYXJtMCAXDTI2MTEyMTE2MzY0NVoYDzIxMjYxMDI4MTYz
NjQ1WjARMQ8wDQYDVQQDDAZBIGZhcm0wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAT89bCwN9EuZkKz7US5qOpblxhu8zpo0nTlTHt4XKXaMvE5384dhRqyJ8lZpDFW
cBaFqr6ihIhIXf3CsNlPfT1+o1MwUTAdBgNVHQ4EFgQUDm5xWOxsDYLbwwgp3Dvl
sP8Nx8UwHwYDVR0jBBgwFoAUDm5xWOxsDYLbwwgp3DvlsP8Nx8UwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA5bP3npFgQnHt2/aKGpqT4VjIPSqJ
yog4qwY46v95SzkCIQCAC9cuEt2GAaaJVKujaa5ASfloOqcftFgloFujz0qc6Q==
-----END CERTIFICATE-----
"""


class Shop:
    """As much of a farm as a store needs: files by digest, a token, and a door that can be shut."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.shut = threading.Event()
        self.refuse = 0
        self.ca = ""
        shop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(shop.answer(self, "GET"))

            def do_HEAD(self) -> None:
                status, body = shop.answer(self, "HEAD")
                self._answer((status, body), head=True)

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, _ = shop.answer(self, "PUT")
                if status == 200 or status == 404:
                    shop.files[self.path.rpartition("/")[2]] = body
                    status = 201
                self._answer((status, b"{}"))

            def _answer(self, answer: tuple[int, bytes], head: bool = False) -> None:
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                if not head:
                    self.wfile.write(answer[1])

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/farm"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler, method: str) -> tuple[int, bytes]:
        self.asked.append(method)
        if request.path == "/farm/v1/ca":
            return 200, json.dumps({"ca": self.ca}).encode()
        if request.headers["Authorization"] != "Bearer mine":
            return 401, b"no"
        if self.shut.is_set() or self.refuse:
            self.refuse = max(0, self.refuse - 1)
            return 503, b"later"
        found = self.files.get(request.path.removeprefix("/farm/v1/store/"))
        return (404, b"") if found is None else (200, found)


@pytest.fixture
def shop():
    made = Shop()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def reach(shop: Shop, tmp_path: Path) -> Reach:
    (tmp_path / "token").write_text("mine\n")
    return Reach(shop.url, "", str(tmp_path / "token"))


@pytest.fixture
def store(reach: Reach, tmp_path: Path) -> RemoteStore:
    return RemoteStore(tmp_path / "cache", reach)


def kept(shop: Shop, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    shop.files[digest] = data
    return digest


def test_inputs_come_once(shop: Shop, store: RemoteStore, tmp_path: Path):
    digest = kept(shop, b"precious")
    for name in ("a", "b"):
        store.place(FileRef(name, digest, 8), tmp_path)
    assert (tmp_path / "b").read_bytes() == b"precious"
    assert shop.asked == ["GET"]
    assert store.read(digest) == b"precious"


def test_what_the_farm_has_not_is_missing(store: RemoteStore, tmp_path: Path):
    with pytest.raises(Missing, match="0000"):
        store.place(FileRef("x", "0" * 64, 1), tmp_path)


def test_what_comes_otherwise_than_announced_is_not_taken(shop: Shop, store: RemoteStore, tmp_path: Path):
    digest = kept(shop, b"right")
    shop.files[digest] = b"wrong"
    with pytest.raises(Damaged):
        store.place(FileRef("x", digest, 5), tmp_path)
    assert not store.has(digest)


def test_what_a_disk_has_spoiled_is_fetched_again(shop: Shop, store: RemoteStore, tmp_path: Path):
    digest = kept(shop, b"right")
    store.place(FileRef("a", digest, 5), tmp_path)
    store.path(digest).unlink()
    store.path(digest).write_bytes(b"wrong")
    store.place(FileRef("b", digest, 5), tmp_path)
    assert (tmp_path / "b").read_bytes() == b"right"


def test_outputs_are_at_the_farm_when_put_returns(shop: Shop, store: RemoteStore, tmp_path: Path):
    (tmp_path / "made").write_bytes(b"made")
    digest = store.put_file(tmp_path / "made")
    with open(tmp_path / "made", "rb") as file:
        assert store.put_stream(file) == digest == store.put_bytes(b"made")
    assert shop.files == {digest: b"made"}
    assert shop.asked.count("PUT") == 1  # what it has is not sent again


@pytest.mark.parametrize("put", ["put", "place"])
def test_a_farm_that_is_away_is_waited_for(shop: Shop, store: RemoteStore, tmp_path: Path, put: str):
    digest = kept(shop, b"input")
    shop.shut.set()
    done = threading.Event()

    def act() -> None:
        store.put_bytes(b"output") if put == "put" else store.place(FileRef("x", digest, 5), tmp_path)
        done.set()

    threading.Thread(target=act, daemon=True).start()
    assert not done.wait(0.5)
    shop.shut.clear()
    assert done.wait(30)
    assert put == "place" or hashlib.sha256(b"output").hexdigest() in shop.files


def test_nobody_waits_for_a_farm_once_the_work_is_cancelled(shop: Shop, store: RemoteStore, tmp_path: Path):
    shop.shut.set()
    wanted = threading.Event()
    ended: list[OSError] = []

    def act() -> None:
        store.bear_with(lambda: not wanted.is_set())
        try:
            store.put_bytes(b"output")
        except OSError as error:
            ended.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    wanted.set()
    thread.join(30)
    assert "not heard of in time: 503" in str(ended)


def test_a_token_that_is_good_no_more_is_not_repeated_for_ever(shop: Shop, store: RemoteStore, reach: Reach):
    shop.files.clear()
    Path(reach.token).write_text("another")
    done = threading.Event()
    threading.Thread(target=lambda: (store.put_bytes(b"x"), done.set()), daemon=True).start()
    assert not done.wait(0.5)  # its lease ends it; a token may come back meanwhile
    Path(reach.token).write_text("mine")
    assert done.wait(30)


def test_the_cache_is_bounded_and_what_was_used_last_stays(
    shop: Shop, reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote_store, "FRESH_S", 0)
    store = RemoteStore(tmp_path / "cache", reach, most=250)
    digests = [kept(shop, bytes([65 + n]) * 100) for n in range(3)]
    for age, digest in zip((30, 20), digests, strict=False):
        store.place(FileRef(digest, digest, 100), tmp_path)
        os.utime(store.path(digest), (1e9 - age, 1e9 - age))
    store.place(FileRef("again", digests[0], 100), tmp_path)  # used again: now the second is the oldest
    store.place(FileRef("x", digests[2], 100), tmp_path)
    assert [store.has(d) for d in digests] == [True, False, True]


def test_nothing_is_sent_in_the_clear(tmp_path: Path):
    for url in ("http://farm.example.org", "ftp://127.0.0.1", "nonsense"):
        with pytest.raises(BadAddress, match="not https"):
            Reach(url, "", "").connection(1)


def test_a_new_authority_is_learned_from_a_farm_that_is_trusted(shop: Shop, reach: Reach, tmp_path: Path):
    reach = Reach(reach.url, str(tmp_path / "ca.pem"), reach.token)
    (tmp_path / "ca.pem").write_text("old")
    shop.ca = ""
    assert not renew_authority(reach)
    shop.ca = "nonsense"
    with pytest.raises(Exception, match=r"(?i)pem|certificate|authority"):
        renew_authority(reach)
    assert (tmp_path / "ca.pem").read_text() == "old"
    shop.ca = AUTHORITY
    assert renew_authority(reach)
    assert (tmp_path / "ca.pem").read_text() == AUTHORITY
    assert not renew_authority(reach)
