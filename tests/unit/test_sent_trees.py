"""Trees that come from elsewhere: what is described is believed as far as it is verified, and no further."""

import hashlib
import json

import pytest

from executors.store import FolderStore
from farm.changes import Entry
from farm.refusal import Refusal
from farm.workloads.packages.sent import Description, SentFile, SentTree, blob_id, read_description
from farm.workloads.packages.source import FolderTree
from tests.fuzz.served_farm import ServedFarm

FILE = ["a/b.py", 0o100644, "1" * 40, "2" * 64]


def told(**more) -> bytes:
    return json.dumps({"title": "t", "commit": "", "files": [FILE], "changed": None, **more}).encode()


def test_a_description_comes_out_as_it_went_in():
    files = (SentFile(Entry("a", 0o100755, "1" * 40), "2" * 64), SentFile(Entry("b", 0o160000, "3" * 64), ""))
    for changed in (None, frozenset(), frozenset({"a"})):
        made = Description("title", "4" * 40, files, changed)
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
