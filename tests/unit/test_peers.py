import json
import subprocess
import sys

import pytest

from benchmarks.peers import __main__ as peers


def test_a_peer_that_can_not_be_had_is_told_with_what_was_said(monkeypatch):
    def absent(_folder, _tasks):
        call = [sys.executable, "-c", "import sys; sys.exit('no such package')"]
        subprocess.run(call, check=True, capture_output=True, text=True)

    monkeypatch.setitem(peers.PEERS, "absent", ("no", absent))
    row = peers._row("absent", 10, 1)
    assert "ratio" not in row
    assert "no such package" in row["failed"]


def test_peers_of_this_machine_run_beside_the_loop(monkeypatch, tmp_path, capfd):
    out = tmp_path / "peers.json"
    words = ["peers", "--tasks", "30", "--runs", "2", "--only", "make,xargs", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert peers.main() == 0
    told = json.loads(out.read_text())
    assert [row["peer"] for row in told["peers"]] == ["make -j2", "xargs -P2"]
    for row in told["peers"]:
        least, most = row["ratio_least_most"]
        assert 0 < least <= row["ratio"] <= most
    assert "make -j2" in capfd.readouterr().out


@pytest.mark.parametrize("tasks", [1, 3])
def test_the_packets_of_gearman_are_answered_one_by_one(tasks):
    import socket
    import threading

    from benchmarks.peers.gearman import _submit

    ours, theirs = socket.socketpair()

    def answer():
        data = b""
        while data.count(b"\0REQ") < tasks:
            data += theirs.recv(4096)
        for n in range(tasks):
            handle = b"H:%d" % n
            theirs.sendall(b"\0RES\0\0\0\x08" + len(handle).to_bytes(4, "big") + handle)

    thread = threading.Thread(target=answer)
    thread.start()
    _submit(ours, tasks)
    thread.join()
    ours.close()
    theirs.close()
