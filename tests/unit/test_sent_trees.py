"""Trees that come from elsewhere: what is described is believed as far as it is verified, and no further."""

import hashlib
import json

import pytest

from executors.store import FolderStore
from farm.changes import Entry
from farm.cli.trees import send_tree
from farm.client import Client
from farm.connection import tcp
from farm.refusal import Refusal
from farm.transport import HttpTransport, Unreachable
from farm.workloads.packages.ask import Answer
from farm.workloads.packages.sent import Description, SentFile, SentTree, blob_id, read_description
from farm.workloads.packages.source import FolderTree
from tests.fuzz.served_farm import ServedFarm

FILE = ["a/b.py", 0o100644, "1" * 40, "2" * 64]


ASKED = {"a": Answer(("b>=1",)), "b": Answer((), "it took more time than 60 s")}


def told(**more) -> bytes:
    return json.dumps({"title": "t", "commit": "", "files": [FILE], "changed": None, "asked": {}, **more}).encode()


def test_a_description_comes_out_as_it_went_in():
    files = (SentFile(Entry("a", 0o100755, "1" * 40), "2" * 64), SentFile(Entry("b", 0o160000, "3" * 64), ""))
    for changed in (None, frozenset(), frozenset({"a"})):
        made = Description("title", "4" * 40, files, changed, ASKED)
        assert read_description(made.as_bytes()) == made


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        told(files=[[*FILE, 1]]),
        told(files=[FILE[:3]]),
        told(files=[FILE, FILE]),
        told(files=None),
        told(title=None),
        told(changed=[1]),
        *(told(asked=asked) for asked in ([], {"a": []}, {"a": [["no requirement!"], ""]}, {"a": [[1], ""]})),
        *(told(files=[[path, *FILE[1:]]]) for path in ("/etc/passwd", "../x", "a/../b", "", ".git/config", "a\\b", 7)),
        *(told(files=[[FILE[0], mode, *FILE[2:]]]) for mode in (0, 0o040000, "0644", None)),
        *(told(files=[[*FILE[:2], blob, FILE[3]]]) for blob in ("", "x", None, "1" * 41)),
        *(told(files=[[*FILE[:3], digest]]) for digest in ("", "x", None, "A" * 64, "../" * 21 + "1")),
    ],
)
def test_a_description_that_is_none_is_refused(data):
    with pytest.raises(Refusal):
        read_description(data)


def test_contents_must_be_what_git_calls_them(tmp_path):
    store = FolderStore(tmp_path / "store")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("as it is")
    (entry,) = FolderTree(tmp_path / "tree").entries()
    good = Description("t", "", (SentFile(entry, store.put_bytes(b"as it is")),))
    assert SentTree(good, store.read).contents([entry]) == {"file": b"as it is"}
    bad = Description("t", "", (SentFile(entry, store.put_bytes(b"something else")),))
    with pytest.raises(Refusal, match="not what the description"):
        SentTree(bad, store.read).contents([entry])


def test_both_of_gits_hashes_are_known():
    sha256 = hashlib.sha256(b"blob 1\0x").hexdigest()
    assert blob_id(b"x", "0" * 64) == sha256
    assert blob_id(b"x", "0" * 40) == hashlib.sha1(b"blob 1\0x").hexdigest()


def test_over_the_wire_what_was_never_sent_is_told(tmp_path):
    with ServedFarm(tmp_path) as served:

        def ask(path: str, **body) -> tuple[int, str]:
            status, said = served.call("POST", path, json.dumps(body).encode())
            return status, json.loads(said)["error"]["what"]

        push = {"repository": "h:/r", "ref": "refs/heads/main", "old": "0" * 40, "new": "1" * 40}
        assert "never sent" in ask("/v1/rebuilds/sent", tree="2" * 64, owner="ada")[1]
        tree = served.farm.store.put_bytes(told())
        assert "'a/b.py' was never sent" in ask("/v1/rebuilds/sent", tree=tree, owner="ada")[1]
        assert "comes with its tree" in ask("/v1/events/sent", **push)[1]
        assert "no ref" in ask("/v1/events/sent", **{**push, "ref": "refs/../x"}, tree=tree)[1]
        assert "no object id" in ask("/v1/events/sent", **{**push, "new": "x"}, tree=tree)[1]
        damaged = served.farm.store.put_bytes(b"[]")
        status, said = ask("/v1/rebuilds/sent", tree=damaged, owner="ada")
        assert (status, said) == (400, "the description of the tree is damaged")


EVIL = """
import pathlib
def get_requires_for_build_wheel(settings=None):
    pathlib.Path({!r}).touch()
    return []
"""


def test_no_code_of_a_tree_runs_where_it_is_planned(tmp_path, monkeypatch):
    """Who may submit from afar must not come to run something beside the farm's own keys."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    marker, tree = tmp_path / "ran", tmp_path / "tree" / "p"
    tree.mkdir(parents=True)
    (tree / "own.py").write_text(EVIL.format(str(marker)))
    project = '[project]\nname="p"\nversion="1"\n'
    text = f'[build-system]\nrequires=[]\nbuild-backend="own"\nbackend-path=["."]\n{project}'
    (tree / "pyproject.toml").write_text(text)
    with ServedFarm(tmp_path / "home") as served:
        client = Client(
            HttpTransport(tcp("127.0.0.1", served.port), lambda e: Unreachable(str(e), "")), served.farm.home.token()
        )
        with client:
            folder = FolderTree(tmp_path / "tree")
            digest = send_tree(client, folder, "tree", "", ask=False)
            assert client.post("/v1/rebuilds/sent", {"tree": digest, "owner": "ada"})["id"]
            new = {"old": "0" * 40, "new": "1" * 40, "tip": "1" * 40}
            push = {"repository": "h:/r", "ref": "refs/heads/main", **new, "tree": digest}
            assert client.post("/v1/events/sent", push)["id"]
            assert not marker.exists()
            send_tree(client, folder, "tree", "")
            assert marker.exists(), "the same backend, asked where it comes from"
