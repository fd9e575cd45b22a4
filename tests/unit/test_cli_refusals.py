"""Words that are refused before anything is asked of a farm: unset variables, control characters."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert

from executors.site import elsewhere
from farm import tables as t
from farm.address import parse_address
from farm.api.acts import _moment
from farm.cli import main
from farm.clock import SystemClock
from farm.db import Database
from farm.entrance import _PLAIN
from farm.login import Login
from farm.refusal import Refusal
from farm.remote import reach
from farm.transport import TLS_ONLY, Unreachable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["submit", "--input", "", "--", "ls"], "--input"),
        (["submit", "--input", "a", "--input", "", "--", "ls"], "--input"),
        (["submit", "--fetch", "", "--", "ls"], "--fetch"),
        (["submit", "--cwd", "", "--", "ls"], "--cwd"),
        (["render", ""], "SCENE"),
        (["render", "a.pov", "--out", ""], "--fetch"),
        (["rebuild", ""], "[TREE]"),
        (["get", "1", ""], "[DEST]"),
        (["hook", "send", ""], "REPOSITORY"),
        (["hook", "install", ""], "REPOSITORY"),
        (["login", "https://farm.example.org", "--ca", ""], "--ca"),
        (["executor", "--ticket", ""], "--ticket"),
        (["executor", "join", "https://farm.example.org", "--pool", "p", "--folder", ""], "--folder"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(words, named, capsys, home):
    assert main(words) == 2
    assert f"{named}: the path is empty" in capsys.readouterr().err
    assert not home.exists()


def test_what_was_not_typed_is_not_refused(capsys):
    main(["get", "1"])
    main(["submit", "--", "true"])
    assert "the path is empty" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["token", "create", "--owner", "ada", "--scope", ""], "--scope: no scope is named"),
        (["token", "create", "--owner", "ada", "--scope", " , "], "--scope: no scope is named"),
        (["token", "create", "--join", ""], "--join: the name is empty"),
        (["hold", "17", "--why", "a\x1b[2J"], "--why: the reason holds a line break or a control character"),
        (["drain", "a-1", "--why", "a\nb"], "--why: the reason holds a line break or a control character"),
    ],
)
def test_what_makes_no_sense_names_its_option(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_a_deadline_with_its_zone_is_not_told_to_lack_it():
    with pytest.raises(Refusal, match="between 1971 and 9000"):
        _moment("9999-12-31T00:00:00+00:00")
    with pytest.raises(Refusal, match="no time with a zone"):
        _moment("2026-03-01T18:00:00")


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_nobody_reads_the_help(word):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "farm", word], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_plain_http_to_the_tls_port_is_told_so():
    def answer() -> None:
        made, _ = listening.accept()
        with made:
            made.recv(65536)
            made.sendall(_PLAIN)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer, daemon=True).start()
        address = parse_address(f"http://127.0.0.1:{listening.getsockname()[1]}", "URL")
        with pytest.raises(Unreachable, match=TLS_ONLY) as raised, reach(Login(address, "token")) as client:
            client.get("/v1/status")
    assert raised.value.remedy == "write https:// in the URL"
    assert TLS_ONLY.encode() in _PLAIN


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"{}", b"[1]", b"some text", b"", b'{"url": 1}', b"[" * 100_000])
def test_a_damaged_ticket_is_told_in_one_sentence(data, tmp_path, capsys):
    (tmp_path / "t6").write_bytes(data)
    assert main(["executor", "--ticket", "t6"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("farm: --ticket t6: this is no invitation of a farm: ")
    assert said.endswith(": end this one, and it orders another\n")
    assert elsewhere.main(["--ticket", "t6"]) == 2
    assert capsys.readouterr().err == said


def test_a_ticket_that_is_not_there(capsys):
    assert main(["executor", "--ticket", "nope"]) == 2
    assert "--ticket nope: it can't be read: No such file or directory; name the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["https://x y:1", "--pool", "p"], "URL"),
        (["https://x:99999", "--pool", "p"], "URL"),
        (["https://x/a'b", "--pool", "p"], "URL"),
        (["https://x", "--pool", ""], "--pool"),
        (["https://x", "--pool", "a\nExecStart=/bin/evil"], "--pool"),
        (["https://x", "--pool", "p", "--user", "a\nb"], "--user"),
        (["https://x", "--pool", "p", "--hold-file", "/a\nExecStart=/bin/evil"], "--hold-file"),
    ],
)
def test_a_unit_holds_what_was_meant_and_nothing_else(words, named, capsys):
    assert main(["executor", "unit", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, f"{named}: " in err) == ("", True)


def test_a_unit_of_plain_words_is_printed(capsys):
    words = ["https://farm.example.org:8443/farm", "--pool", "desks-2", "--hold-file", "/a $b%"]
    assert main(["executor", "unit", *words]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ExecStart=")]
    assert "--pool desks-2 --hold-file '/a $$b%%'" in line


@pytest.mark.parametrize("how", [[], ["--drain"]])
def test_paid_executors_that_run_on_without_a_farm_are_named(how, home, capsys):
    main(["submit", "--", "true"])
    assert main(["down", *how]) == 0
    now = SystemClock().now()
    row = {
        "pool": "ec2",
        "site": "",
        "slots": 1,
        "state": "ready",
        "price_nano": 1_500_000_000,
        "order": "o",
        "why": "",
    }
    row |= {"ordered": now, "launched": now, "billed_until": now}
    with contextlib.closing(Database.file(home / "farm.db")) as db, db.write() as tx:
        tx.execute(insert(t.Executor), [{"id": f"a-{n}", **row} for n in (1, 2)])
    capsys.readouterr()
    assert main(["down", *how]) == 2
    said = capsys.readouterr().err
    assert "still alive: 2 paid executors, 3" in said
    assert "`farm up`, then `farm down --terminate`" in said
    assert main(["down", "--keep"]) == 0
