"""Pinned sdists: the lock, the cache, the trees. pip looks into a folder of this test here, not at a network."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from farm.refusal import Refusal
from farm.workloads.packages.fetch import EXAMPLE, fetch
from farm.workloads.packages.lock import Pin, read_lock


def sdist(folder: Path, name: str, **files: str) -> str:
    """An sdist whose backend would fail if anybody ran it; its pin."""
    files = {"pyproject.toml": '[build-system]\nrequires=["absent"]\nbuild-backend="absent"\n', "PKG-INFO": "x"} | files
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Where pip looks for packages in these tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    return tmp_path / "shelf"


def test_trees_come_through_pip_and_then_from_the_cache(tmp_path, shelf):
    lock = tmp_path / "lock.txt"
    lock.write_text("# two\n" + sdist(shelf, "some_tool") + sdist(shelf, "other"))
    made = fetch(tmp_path / "one", lock)
    assert made == (tmp_path / "one/packages/some-tool", tmp_path / "one/packages/other")
    assert sorted(path.name for path in made[0].iterdir()) == ["PKG-INFO", "pyproject.toml"]
    for path in shelf.iterdir():
        path.unlink()
    assert fetch(tmp_path / "two", lock)[1].is_dir()
    with pytest.raises(Refusal, match="is there already"):
        fetch(tmp_path / "two", lock)


def test_a_damaged_cache_is_not_believed(tmp_path, shelf):
    lock = tmp_path / "lock.txt"
    lock.write_text(sdist(shelf, "other"))
    fetch(tmp_path / "one", lock)
    (kept,) = (tmp_path / "cache/elastic-farm/sdists").iterdir()
    kept.write_bytes(b"damaged")
    assert (fetch(tmp_path / "two", lock)[0] / "PKG-INFO").read_text() == "x"


def test_another_hash_than_the_lock_is_refused(tmp_path, shelf):
    lock = tmp_path / "lock.txt"
    lock.write_text(sdist(shelf, "other"))
    sdist(shelf, "other", more="something else")
    with pytest.raises(Refusal, match=r"could not fetch|another hash"):
        fetch(tmp_path / "one", lock)
    assert not (tmp_path / "one").exists()


def test_what_pip_cannot_find_is_told(tmp_path, shelf):
    lock = tmp_path / "lock.txt"
    lock.write_text(f"absent==3 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Refusal, match="pip could not fetch the set"):
        fetch(tmp_path / "one", lock)


@pytest.mark.parametrize("line", ["tool", "tool>=1", "tool==1", "tool==1 --hash=md5:00", "-r other.txt"])
def test_lines_that_pin_nothing_are_refused(tmp_path, line):
    (tmp_path / "lock.txt").write_text(line)
    with pytest.raises(Refusal, match="is no pin"):
        read_lock(tmp_path / "lock.txt")


def test_the_example_is_a_set_of_pins_that_names_no_host():
    pins = read_lock(EXAMPLE)
    assert len({pin.name for pin in pins}) == len(pins) >= 8
    assert Pin("flit-core", "4.2.0", pins[0].digest) == pins[0]
    assert "://" not in EXAMPLE.read_text()
