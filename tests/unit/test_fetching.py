"""Outputs into a folder of the user's: verified, whole or not at all, and never outside of it."""

import hashlib
import os
from pathlib import Path

import pytest

from farm.cli.get import Fetching
from farm.refusal import Refusal
from farm.transport import Unreachable


class Store:
    """Gives the bytes of a digest, or fails as it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut = False

    def output(self, path: str, data: bytes, mode: int = 0o644) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        return {"path": path, "digest": digest, "size": len(data), "mode": mode}

    def download(self, digest: str, into) -> None:
        into.write(self.files[digest])
        if self.cut:
            raise Unreachable("the farm went away", "")


@pytest.fixture
def store() -> Store:
    return Store()


def task(number: int, *outputs: dict) -> dict:
    return {"ref": f"17.{number}", "outputs": list(outputs)}


def found(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_second_file_of_a_name_stands_under_its_tasks_number(store, tmp_path):
    fetching = Fetching(tmp_path / "out", overwrite=True)
    fetching(store, task(1, store.output("a/x", b"1"), store.output("log", b"same")))
    fetching(store, task(2, store.output("a/x", b"2"), store.output("log", b"same"), store.output("run", b"#", 0o755)))
    assert found(tmp_path / "out") == {"a/x": b"1", "2/a/x": b"2", "log": b"same", "run": b"#"}
    assert set(fetching.fetched) == set(found(tmp_path / "out"))
    assert (tmp_path / "out" / "run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "..", ".", "", "a\0b", "x/.."])
def test_names_that_lead_out_are_refused(store, tmp_path, name):
    with pytest.raises(Refusal, match=r"outside|no such|can't"):
        Fetching(tmp_path / "out", overwrite=True)(store, task(1, store.output(name, b"1")))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_links_that_lead_out_are_not_followed_not_even_to_make_a_folder(store, tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "d").symlink_to(tmp_path / "away")
    (tmp_path / "out" / "f").symlink_to(tmp_path / "away" / "f")
    fetching = Fetching(tmp_path / "out", overwrite=True)
    for name in ("d/x", "d/deep/er/x"):
        with pytest.raises(Refusal, match="link leads out"):
            fetching(store, task(1, store.output(name, b"1")))
    fetching(store, task(1, store.output("f", b"1")))
    assert not (tmp_path / "out" / "f").is_symlink(), "a link of that name is replaced, not written through"
    assert list((tmp_path / "away").iterdir()) == []


def test_a_folder_that_is_a_link_itself_is_fine(store, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    Fetching(tmp_path / "out", overwrite=True)(store, task(1, store.output("a/b/x", b"1")))
    assert found(tmp_path / "real") == {"a/b/x": b"1"}


def test_what_is_damaged_or_cut_leaves_nothing(store, tmp_path):
    damaged = store.output("x", b"good")
    store.files[damaged["digest"]] = b"bad"
    with pytest.raises(Refusal, match="arrived damaged"):
        Fetching(tmp_path / "out", overwrite=True)(store, task(1, damaged))
    store.cut = True
    with pytest.raises(Refusal, match="went away"):
        Fetching(tmp_path / "out", overwrite=True)(store, task(1, store.output("y", b"1")))
    assert list((tmp_path / "out").iterdir()) == []


def test_another_file_of_that_name_is_replaced_only_where_that_was_asked(store, tmp_path):
    (tmp_path / "x").write_bytes(b"mine")
    outputs = task(1, store.output("x", b"theirs"))
    with pytest.raises(Refusal, match="another file of that name"):
        Fetching(tmp_path, overwrite=False)(store, outputs)
    assert found(tmp_path) == {"x": b"mine"}
    Fetching(tmp_path, overwrite=True)(store, outputs)
    assert found(tmp_path) == {"x": b"theirs"}
    Fetching(tmp_path, overwrite=False)(store, outputs)


def test_a_folder_in_the_place_of_a_file_is_told(store, tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(Refusal, match="a folder of that name"):
        Fetching(tmp_path, overwrite=True)(store, task(1, store.output("x", b"1")))


def test_a_pipe_in_the_place_of_a_file_is_not_read(store, tmp_path):
    os.mkfifo(tmp_path / "x")
    Fetching(tmp_path, overwrite=True)(store, task(1, store.output("x", b"1")))
    assert found(tmp_path) == {"x": b"1"}
