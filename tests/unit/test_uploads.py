"""Files coming into the store over HTTP: whole or not at all, whatever happens to those who send them."""

import errno
import fcntl
import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from executors import incoming
from executors.incoming import Incoming
from executors.store import FolderStore
from farm.context import open_farm
from tests.contract.yard import eventually
from tests.fuzz.served_farm import ServedFarm

BIG = os.urandom(9 << 20)
DIGEST = hashlib.sha256(BIG).hexdigest()


@pytest.fixture
def served(tmp_path):
    with ServedFarm(tmp_path, '[api]\nlargest_upload = "10M"\n') as farm:
        yield farm


def coming(served):
    return list((served.farm.home.store / "incoming").iterdir())


def test_a_file_comes_in_and_comes_back(served):
    assert served.call("PUT", f"/v1/store/{DIGEST}", BIG) == (
        201,
        json.dumps({"digest": DIGEST}).replace(" ", "").encode(),
    )
    assert served.call("GET", f"/v1/store/{DIGEST}") == (200, BIG)
    assert served.farm.store.read(DIGEST) == BIG
    assert coming(served) == []


def test_a_body_that_is_not_its_digest_is_refused_and_gone(served):
    status, said = served.call("PUT", f"/v1/store/{'0' * 64}", BIG)
    assert status == 400
    assert DIGEST in json.loads(said)["error"]["what"]
    assert coming(served) == []
    assert not served.farm.store.has(DIGEST)


def test_the_same_file_twice_at_once_is_fine(served):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.call("PUT", f"/v1/store/{DIGEST}", BIG)[0], range(8)))
    assert answers == [201] * 8
    assert served.farm.store.read(DIGEST) == BIG
    assert coming(served) == []


def test_a_file_over_the_limit_is_refused_in_a_sentence(served):
    status, said = served.call("PUT", f"/v1/store/{DIGEST}", BIG + bytes(2 << 20))
    assert status == 413
    assert "10,485,760 bytes" in json.loads(said)["error"]["what"]
    assert "largest_upload" in json.loads(said)["error"]["remedy"]


def test_an_upload_that_is_cut_leaves_nothing(served):
    length, token = f"Content-Length: {len(BIG)}", f"Authorization: {served.headers['Authorization']}"
    fields = "\r\n".join([f"PUT /v1/store/{DIGEST} HTTP/1.1", "Host: x", length, token, "", ""])
    with served.connect() as sock:
        sock.sendall(fields.encode() + BIG[: 3 << 20])
        eventually(lambda: [path for path in coming(served) if path.stat().st_size >= 1 << 20])
    eventually(lambda: not coming(served))
    assert not served.farm.store.has(DIGEST)
    assert served.call("PUT", f"/v1/store/{DIGEST}", BIG)[0] == 201


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("method", ["write", "finish"])
def test_a_full_disk_is_said_and_nothing_is_left(served, monkeypatch, method, number):
    def full(_self, *_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Incoming, method, full)
    status, said = served.call("PUT", f"/v1/store/{DIGEST}", BIG)
    assert status == 507
    assert "disk is full" in json.loads(said)["error"]["what"]
    monkeypatch.undo()
    assert coming(served) == []
    assert served.call("PUT", f"/v1/store/{DIGEST}", BIG)[0] == 201


def test_while_a_slow_disk_writes_others_are_served(served, monkeypatch):
    held, write = threading.Event(), Incoming.write
    monkeypatch.setattr(Incoming, "write", lambda self, data: (held.wait(60), write(self, data)))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(served.call, "PUT", f"/v1/store/{DIGEST}", BIG)
        eventually(lambda: coming(served))
        assert served.call("GET", "/v1/status")[0] == 200
        assert not slow.done()
        held.set()
        assert slow.result(60)[0] == 201


def test_leftovers_of_killed_writers_go_at_the_start_and_what_is_written_stays(tmp_path, monkeypatch):
    store = FolderStore(tmp_path / "store")
    left, fresh, written = store.incoming(), store.incoming(), store.incoming()
    for one in (left, fresh):
        one.write(b"half")
        fcntl.flock(one._file, fcntl.LOCK_UN)  # as the kernel does for the dead
    for one in (left, written):
        os.utime(one.path, (0, 0))
    assert store.sweep() == 1
    assert not left.path.exists()
    assert fresh.path.exists(), "its writer may be about to lock it"
    assert written.path.exists()
    monkeypatch.setattr(incoming, "FRESH_S", -1)
    assert store.sweep() == 1
    written.write(b"whole")
    assert store.take(written) == hashlib.sha256(b"whole").hexdigest()


def test_a_farm_sweeps_when_it_opens(served):
    left = served.farm.home.store / "incoming" / "0123456789abcdef"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    open_farm(served.farm.home).close()
    assert not left.exists()
