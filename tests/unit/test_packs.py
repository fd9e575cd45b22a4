"""Many files in one request: whole or not at all, each what its digest says, whatever is sent."""

import hashlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.store import FolderStore
from farm.cli.uploads import Sending, upload
from farm.client import Client
from farm.connection import tcp
from farm.packs import GROUP, MOST_BYTES, MOST_FILES, SMALL, Unpacking, packed
from farm.refusal import Refusal
from farm.transport import HttpTransport, Unreachable
from tests.contract.yard import eventually
from tests.fuzz.served_farm import ServedFarm


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def line(data: bytes, digest: str = "", size: int | None = None) -> bytes:
    return b"%s %d\n" % ((digest or digest_of(data)).encode(), len(data) if size is None else size) + data


@pytest.fixture
def store(tmp_path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def served(tmp_path):
    with ServedFarm(tmp_path, '[api]\nlargest_upload = "1M"\n') as farm:
        yield farm


def unpack(store: FolderStore, pack: bytes) -> None:
    taking = Unpacking(store, SMALL)
    try:
        taking.feed(pack)
        taking.end()
    finally:
        taking.drop()


def coming(store: FolderStore) -> list:
    return list((store.root / "incoming").iterdir())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(1, 200))
def test_what_is_packed_comes_out_however_it_is_cut(tmp_path_factory, files, size):
    store = FolderStore(tmp_path_factory.mktemp("store"))
    taking = Unpacking(store, SMALL)
    for pack in packed([(digest_of(data), data) for data in files]):
        for at in range(0, len(pack), size):
            taking.feed(pack[at : at + size])
    taking.end()
    taking.drop()
    assert taking.files == len(files)
    assert all(store.read(digest_of(data)) == data for data in files)
    assert coming(store) == []


def test_packs_are_bounded_in_files_and_bytes():
    many = list(packed((f"{number:064x}", b"") for number in range(MOST_FILES * 2 + 1)))
    assert [pack.count(b"\n") for pack in many] == [MOST_FILES, MOST_FILES, 1]
    large = list(packed((f"{number:064x}", bytes(SMALL)) for number in range(100)))
    assert max(map(len, large)) <= MOST_BYTES + 100 * 80
    assert len(large) == 4
    assert list(packed([])) == []


@pytest.mark.parametrize(
    "bad",
    [
        b"no digest\n",
        line(b"x", "A" * 64),
        line(b"x", digest_of(b"y")),
        b"x" * 100,
        line(b"xy")[:-1],
        digest_of(b"").encode(),
        digest_of(b"").encode() + b" -1\n",
        digest_of(b"").encode() + b" 1e3\n",
        line(b"", size=SMALL + 1),
        line(b"", size=10**14),
        line(b"x") + b"\0",
        b"../../etc/passwd 1\nx",
    ],
)
def test_a_damaged_pack_is_refused_and_leaves_nothing(store, bad):
    with pytest.raises(Refusal):
        unpack(store, bad)
    assert coming(store) == []
    assert [path.name for path in store.root.iterdir()] == ["incoming"]


def test_over_the_wire_the_same(served):
    files = [os.urandom(100) for _ in range(3)]
    digests = [digest_of(data) for data in files]
    ask = json.dumps({"digests": [*digests, served.digest, digests[0]]}).encode()
    assert json.loads(served.call("POST", "/v1/store/missing", ask)[1]) == {"missing": digests}
    (pack,) = packed(zip(digests, files, strict=True))
    assert served.call("POST", "/v1/store/pack", pack) == (201, b'{"files":3}')
    assert json.loads(served.call("POST", "/v1/store/missing", ask)[1]) == {"missing": []}
    assert [served.farm.store.read(digest) for digest in digests] == files
    status, said = served.call("POST", "/v1/store/pack", line(b"z", digest_of(b"y")))
    assert status == 400
    assert "the pack is damaged" in json.loads(said)["error"]["what"]
    for bad in ({"digests": ["x"]}, {"digests": "x"}, {}, {"digests": ["0" * 64], "more": 1}):
        assert served.call("POST", "/v1/store/missing", json.dumps(bad).encode())[0] == 400
    assert coming(served.farm.store) == []


def test_a_pack_that_is_cut_keeps_what_came_whole_and_the_rest_comes_again(served, tmp_path):
    files = {digest_of(data): data for data in (os.urandom(2000) for _ in range(GROUP + 5))}
    (pack,) = packed(files.items())
    head = f"POST /v1/store/pack HTTP/1.1\r\nHost: x\r\nAuthorization: {served.headers['Authorization']}\r\n"
    with served.connect() as wire:
        wire.sendall(f"{head}Content-Length: {len(pack)}\r\n\r\n".encode() + pack[: -3 * 2000])
    eventually(lambda: not coming(served.farm.store))
    assert sum(map(served.farm.store.has, files)) in (0, GROUP)
    (tmp_path / "in").mkdir()
    for digest, data in files.items():
        (tmp_path / "in" / digest).write_bytes(data)
    with client(served) as far:
        upload(far, {digest: tmp_path / "in" / digest for digest in files})
    assert all(map(served.farm.store.has, files))


class Counting(HttpTransport):
    """Notes what is asked."""

    def send(self, method, path, body, headers):
        self.asked.append((method, path))
        return super().send(method, path, body, headers)


def client(served: ServedFarm) -> Client:
    transport = Counting(tcp("127.0.0.1", served.port), lambda error: Unreachable(str(error), ""))
    transport.asked = []
    made = Client(transport, served.farm.home.token())
    made.asked = transport.asked
    return made


def test_ten_thousand_small_files_are_a_few_requests_and_none_is_sent_twice(served, tmp_path):
    files = {}
    for number in range(10_000):
        path = tmp_path / str(number)
        path.write_text(f"file {number}")
        files[f"in/{number}"] = path
    with client(served) as far:
        made = upload(far, files)
        assert len(far.asked) == 4, far.asked[:10]
        assert all(served.farm.store.has(file["digest"]) for file in made)
        far.asked.clear()
        (tmp_path / "0").write_text("another")
        assert upload(far, files)[1:] == made[1:]
        assert far.asked == [("POST", "/v1/store/missing"), ("POST", "/v1/store/pack")]


def test_small_and_large_files_and_the_same_one_twice(served, tmp_path):
    contents = {"a": b"", "b": b"x", "c": b"x", "d": os.urandom(SMALL), "e": os.urandom(SMALL + 1)}
    files = {}
    for name, data in contents.items():
        files[name] = tmp_path / name
        files[name].write_bytes(data)
    with client(served) as far:
        made = upload(far, files)
        assert [how for how, _ in far.asked] == ["POST", "POST", "PUT"]
    assert [(file["path"], file["size"]) for file in made] == [(name, len(data)) for name, data in contents.items()]
    assert all(served.farm.store.read(file["digest"]) == contents[file["path"]] for file in made)


def test_a_file_that_changes_while_it_is_sent_is_told(served, tmp_path):
    path = tmp_path / "growing"
    path.write_text("now")
    with client(served) as far:
        sending = Sending(far)
        sending.add(path, "growing")
        path.write_text("then")
        with pytest.raises(Refusal, match="changed while it was sent"):
            sending.send()


def test_what_the_workloads_give_may_be_gone_by_the_time_it_is_sent(served, tmp_path):
    with client(served) as far:
        sending = Sending(far)
        made = []
        for size in (10, SMALL + 10):
            path = tmp_path / "passing"
            path.write_bytes(bytes(size))
            made.append(sending(path))
            path.unlink()
        sending.send()
    assert [len(served.farm.store.read(file.digest)) for file in made] == [10, SMALL + 10]
