"""The folder store: what goes in comes out, whole, inside its folder, or not at all."""

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from executors.contract import FileRef
from executors.store import BadPath, Damaged, FolderStore, Missing


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "desk").mkdir()
    return tmp_path / "desk"


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(3 << 20)], ids=["empty", "small", "large"])
def test_bytes_and_files_come_back(store: FolderStore, tmp_path: Path, data: bytes):
    file = tmp_path / "file"
    file.write_bytes(data)
    assert store.put_bytes(data) == store.put_file(file) == digest_of(data)
    assert store.has(digest_of(data))
    assert store.read(digest_of(data)) == data
    assert store.size(digest_of(data)) == len(data)
    with store.open(digest_of(data)) as stored:
        assert stored.read() == data


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was synced and what got its name, in order."""
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def named(source: Path, target: Path) -> None:
        done.append(("name", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", named)
    return done


def test_what_was_put_in_outlives_a_power_cut(store: FolderStore, disk: list[tuple[str, str]]):
    """Its bytes are on the disk before it has its name, and its name before anybody is told of it."""
    final = store.path(store.put_bytes(b"an output"))
    (what, written), *rest = disk
    assert (what, Path(written).parent.name) == ("sync", "incoming")
    assert rest == [("sync", str(store.root)), ("name", str(final)), ("sync", str(final.parent))]


def test_so_do_many_at_once(store: FolderStore, disk: list[tuple[str, str]]):
    coming = [store.incoming() for _ in range(3)]
    for n, one in enumerate(coming):
        one.write(b"%d" % n)
    store.take_all(coming)
    names = [at for at, (what, _) in enumerate(disk) if what == "name"]
    assert len(names) == 3
    assert {where for what, where in disk[: names[0]] if what == "sync"} >= {str(one.path) for one in coming}
    assert {where for _, where in disk[names[-1] + 1 :]} >= {str(store.path(one.digest).parent) for one in coming}
    for one in coming:
        one.drop()


def test_nothing_is_shared_with_the_file_that_was_put_in(store: FolderStore, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"before")
    digest = store.put_file(file)
    with file.open("r+b") as out:
        out.write(b"after!")
    assert store.read(digest) == b"before"
    assert store.path(digest).stat().st_nlink == 1


def test_nothing_but_whole_files_is_left(store: FolderStore, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        store.put_file(tmp_path / "absent")
    store.put_bytes(b"x")
    store.put_bytes(b"x")
    assert [p.name for p in store.root.rglob("*") if p.is_file()] == [digest_of(b"x")[2:]]


def test_many_writers_of_one_file(store: FolderStore):
    data = os.urandom(1 << 18)
    threads = [threading.Thread(target=store.put_bytes, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(digest_of(data)) == data
    assert not list((store.root / "incoming").iterdir())


def test_what_is_missing_is_said(store: FolderStore, desk: Path):
    nothing = digest_of(b"nothing")
    assert not store.has(nothing)
    for ask in (store.read, store.open, store.size):
        with pytest.raises(Missing, match=nothing):
            ask(nothing)
    with pytest.raises(Missing):
        store.place(FileRef("x", nothing, 7), desk)
    assert not (desk / "x").exists()


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 62 + "/x"])
def test_only_digests_name_files(store: FolderStore, digest: str):
    with pytest.raises(ValueError, match="no sha256"):
        store.has(digest)


def damage(store: FolderStore, digest: str) -> None:
    path = store.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"rot")
    path.chmod(0o400)


def test_damage_is_noticed_and_healed_by_putting_it_in_again(store: FolderStore, desk: Path, tmp_path: Path):
    digest = store.put_bytes(b"sound")
    damage(store, digest)
    with pytest.raises(Damaged, match="put it in again"):
        store.read(digest)
    with pytest.raises(Damaged):
        store.place(FileRef("x", digest, 5), desk)
    assert not (desk / "x").exists()
    (tmp_path / "file").write_bytes(b"sound")
    store.put_file(tmp_path / "file")
    assert store.read(digest) == b"sound"


def test_a_placed_file_is_a_copy_with_its_mode(store: FolderStore, desk: Path):
    digest = store.put_bytes(b"run me")
    store.place(FileRef("a/b/run", digest, 6, 0o755), desk)
    placed = desk / "a/b/run"
    assert stat.S_IMODE(placed.stat().st_mode) == 0o755
    placed.write_bytes(b"changed")
    assert store.read(digest) == b"run me"


@pytest.mark.parametrize("path", ["/abs", "..", "../x", "a/../../x", "a/..", "", ".", "a\0b"])
def test_a_path_never_leaves_the_folder(store: FolderStore, desk: Path, path: str):
    with pytest.raises(BadPath):
        store.place(FileRef(path, store.put_bytes(b"x"), 1), desk)
    assert not list(desk.iterdir())


def test_links_are_not_followed(store: FolderStore, desk: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (desk / "folder").symlink_to(outside)
    (desk / "file").symlink_to(outside / "new")
    digest = store.put_bytes(b"x")
    with pytest.raises(BadPath, match="folder"):
        store.place(FileRef("folder/x", digest, 1), desk)
    with pytest.raises(OSError):
        store.place(FileRef("file", digest, 1), desk)
    assert not list(outside.iterdir())


def test_many_small_files_in_many_folders(store: FolderStore, desk: Path):
    digest = store.put_bytes(b"tiny")
    before = len(os.listdir("/proc/self/fd"))
    for n in range(300):
        store.place(FileRef(f"d{n % 7}/e{n % 3}/f{n}", digest, 4), desk)
    assert sum(p.is_file() for p in desk.rglob("*")) == 300
    assert len(os.listdir("/proc/self/fd")) == before
