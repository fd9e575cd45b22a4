"""An executor whose disk is full: attempts say so, nothing goes round in circles, and with room all is well again."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.contract import FileRef
from executors.site.agent import Agent
from executors.site.rubble import full
from executors.site.scratch import Desk as Table
from executors.site.scratch import NoInputs
from executors.site.spooler import Spooler
from executors.store import FolderStore
from tests.unit.test_agent import Desk

MOUNTS = os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 4 MiB: a file system of its own, as root can make it."""
    folder = Path(tempfile.mkdtemp(prefix="fd-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def fill(folder: Path) -> Path:
    """Not a byte more."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


def brim(desk: Desk) -> None:
    """A first attempt, so that all files are there, then a full disk."""
    desk.agent.submit([desk.work("1.1.1", "echo", "first")])
    desk.until("1.1.1")
    fill(desk.folder)
    assert full(str(desk.folder))


if MOUNTS:

    @pytest.fixture
    def desk(small: Path, tmp_path: Path) -> Iterator[Desk]:
        (small / "store").symlink_to(tmp_path)
        desk = Desk(small, slots=1)
        yield desk
        desk.agent.stop(0)
        desk.agent.close()

    def test_a_task_that_fills_the_disk_says_so_and_the_next_has_room(desk: Desk):
        desk.agent.submit(
            [desk.work("1.1.1", "sh", "-c", "head -c 9000000 /dev/zero > big"), desk.work("1.2.1", "true")]
        )
        bad, good = desk.until("1.1.1", "1.2.1")
        assert (bad.exit != 0, bad.cause) == (True, "disk")
        assert "disk was full" in bad.message
        assert (good.exit, good.message) == (0, "")
        assert not full(str(desk.folder))

    def test_output_that_has_no_room_is_named_and_ends_nothing(desk: Desk):
        brim(desk)
        desk.agent.submit([desk.work(f"1.{n}.1", "sh", "-c", "seq 9000; exit 3") for n in range(2, 5)])
        ends = desk.until("1.2.1", "1.3.1", "1.4.1")
        assert [e.exit for e in ends] == [3, 3, 3]
        assert all("the executor's disk is full" in e.message for e in ends)

    def test_all_is_well_when_there_is_room_again(desk: Desk):
        brim(desk)
        desk.agent.submit([desk.work("1.2.1", "seq", "9000")])
        desk.until("1.2.1")
        (desk.folder / "filler").unlink()
        desk.agent.submit([desk.work("1.3.1", "echo", "well", term=7)])
        (end,) = desk.until("1.3.1")
        assert (end.exit, end.message) == (0, "")
        assert b"".join(e.data for e in desk.seen if e.attempt == "1.3.1") == b"well\n"

    def test_terms_and_leases_are_kept_on_a_full_disk(desk: Desk):
        desk.agent.renew(50)
        brim(desk)
        desk.agent.submit([desk.work("1.2.1", "true", term=9)])
        desk.agent._lease._written = 0
        desk.agent.renew(5000)
        assert int((desk.folder / "x" / "term").read_text()) == 9
        assert float((desk.folder / "x" / "lease").read_text()) > 4000

    def test_inputs_that_have_no_room(desk: Desk, tmp_path: Path):
        brim(desk)
        digest = FolderStore(tmp_path).put_bytes(b"x" * 100_000)
        desk.agent.submit([desk.work("1.2.1", "true", inputs=(FileRef("a", digest, 100_000),))])
        (end,) = desk.until("1.2.1")
        assert end.cause == "inputs"
        assert "No space left" in end.message

    def test_no_agent_begins_on_a_full_disk(small: Path, tmp_path: Path):
        """It would take work and lose it: its executor ends instead."""
        fill(small)
        with pytest.raises(OSError, match="No space left"):
            Agent("e1", str(small / "x"), 1, str(tmp_path))


def test_a_folder_that_can_not_be_made_is_the_works_own_misfortune(tmp_path: Path):
    (tmp_path / "file").touch()
    work = Desk.work(None, "1.1.1", "true", outputs=("x",))  # type: ignore[arg-type]
    with pytest.raises(NoInputs, match="can't be placed"):
        Table(tmp_path / "file", work).prepare(FolderStore(tmp_path / "store"))


def test_output_that_did_not_reach_the_disk_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spool = Spooler(str(tmp_path), "0")
    spool.begin("")
    spool.add(b"one")
    file, spool.file = spool.file, os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(os, "ftruncate", lambda _, size: os.truncate(tmp_path / spool.name, size))
    spool.flush()
    spool.file = file
    spool.add(b"two")
    spool.flush()
    assert (tmp_path / spool.name).read_bytes() == b"\0\0\0two"
    assert "3 bytes of output are missing" in spool.complaint(spool.name, 0, 3)
    assert spool.complaint(spool.name, 3, 6) == ""


def test_each_attempt_is_told_what_it_misses_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What one has written that still runs may be lost together with the last words of one that has ended."""
    spool = Spooler(str(tmp_path), "0")
    monkeypatch.setattr(os, "ftruncate", lambda _, size: os.truncate(tmp_path / spool.name, size))
    spool.begin("")
    spool.add(b"one")
    middle = spool.begin("")
    spool.add(b"second")
    file, spool.file = spool.file, os.open("/dev/full", os.O_WRONLY)
    spool.flush()
    spool.file = file
    end = spool.begin("")
    spool.add(b"third")
    assert "3 bytes of output are missing" in spool.complaint(spool.name, 0, middle)
    assert "6 bytes of output are missing" in spool.complaint(spool.name, middle, end)
    assert spool.complaint(spool.name, end, spool.size) == ""


def test_a_disk_that_is_full_for_long_is_one_gap_to_remember(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spool = Spooler(str(tmp_path), "0")
    monkeypatch.setattr(os, "ftruncate", lambda _, size: os.truncate(tmp_path / spool.name, size))
    spool.begin("")
    file, spool.file = spool.file, os.open("/dev/full", os.O_WRONLY)
    for _ in range(50):
        spool.add(b"word")
        spool.flush()
    os.close(spool.file)
    spool.file = file
    spool.add(b"there")
    spool.flush()
    assert len(spool.gaps) == 1
    assert "200 bytes of output are missing" in spool.complaint(spool.name, 0, spool.size)
    assert spool.gaps == []
