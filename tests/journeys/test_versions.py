"""A farm and an executor of neighbouring versions work together; what is further apart is told so, and goes.

The other version is this program, of which a copy was made to speak as that one did: what it would not have known it
does not say, and chokes on. tests/unit/test_protocol_versions.py holds its words against recorded ones."""

import io
import re
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.program import packed
from executors.site.protocol import PROTOCOL
from tests.contract.test_executor_program import Sky
from tests.contract.yard import eventually
from tests.journeys.shell import ROOT

NARROW = """

def _known(kind, raw):
    strange = raw.keys() - ({name for name, _ in _defaults(kind)} - set(SINCE_2))
    if strange:
        raise TypeError(f"nobody has heard of {strange} yet")
    return dict(raw)
"""


def version(file: str, text: str, number: int) -> str:
    """A source as it would be in a program of that version. The first one said nothing of it when it joined."""
    if file == "executors/site/protocol.py":
        text, found = re.subn(rf"(?m)^PROTOCOL = {PROTOCOL}$", f"PROTOCOL = {number}", text)
        assert found == 1
        return text + NARROW if number < PROTOCOL else text
    if number == 1 and file in ("executors/site/admission.py", "farm/api/join.py"):
        assert '"sync": SYNC' in text
        return text.replace(', "sync": SYNC', "")
    return text


def program(number: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed())) as ours, zipfile.ZipFile(out, "w") as theirs:
        for name in ours.namelist():
            theirs.writestr(name, version(name, ours.read(name).decode(), number))
    return out.getvalue()


def installed(folder: Path, number: int) -> Path:
    """A farm of that version."""
    for package in ("farm", "executors", "schedules"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("executors/site/protocol.py", "executors/site/admission.py", "farm/api/join.py"):
        file = folder / name
        file.write_text(version(name, file.read_text(), number))
    return folder


@pytest.fixture
def sky() -> Iterator[Sky]:
    """One for each test: a pool that has lost a machine waits before it orders the next."""
    made = Sky()
    yield made
    made.close()


@pytest.fixture
def old_sky(tmp_path: Path) -> Iterator[Sky]:
    made = Sky(installed(tmp_path / "old", PROTOCOL - 1))
    yield made
    made.close()


def works_and_goes(sky: Sky) -> None:
    """It takes a file in, brings one out, tells what it writes; and how all of it ended when it has to go."""
    (sky.folder / "given").write_text("precious\n")
    words = ("--input", "given", "--output", "made", "--", "sh", "-c", "echo begun; cp given made")
    job = sky.farm("submit", *words).split()[1]
    machine = sky.machine(sky.ticket(eventually(sky.ordered)))
    sky.farm("wait", job)
    assert sky.farm("logs", job) == "begun\n"
    sky.farm("get", job, f"got-{job}")
    assert [f.read_text() for f in (sky.folder / f"got-{job}").rglob("made")] == ["precious\n"]

    job = sky.farm("submit", "--", "sh", "-c", "echo begun; exec sleep 600").split()[1]
    eventually(lambda: sky.farm("logs", job) == "begun\n")
    machine.send_signal(signal.SIGTERM)
    assert machine.wait(60) == 0
    eventually(lambda: sky.farm.json("show", f"{job}.1")["attempts"][0]["state"] == "lost")
    sky.farm("cancel", job)


def test_those_of_another_age_are_told_so_and_the_farm_knows(sky: Sky):
    job = sky.farm("submit", "--", "true").split()[1]
    executor = eventually(sky.ordered)
    for number, age in ((PROTOCOL + 2, "new"), (PROTOCOL - 2, "old")):
        sky.program.write_bytes(program(number))
        machine = sky.machine(sky.ticket(executor))
        _, said = machine.communicate(timeout=60)
        told = f"its program is too {age}: it speaks version {number} of `sync`, this farm {PROTOCOL}"
        assert (machine.returncode, told in said, "GET /v1/executor.pyz" in said) == (3, True, True)
        assert told in sky.farm("why", "sky")
    sky.farm("cancel", job)


def test_an_executor_of_the_version_before_works_here(sky: Sky):
    sky.program.write_bytes(program(PROTOCOL - 1))
    works_and_goes(sky)


def test_this_executor_works_for_a_farm_of_the_version_before(old_sky: Sky):
    works_and_goes(old_sky)
    assert "is no report" not in (old_sky.home.path / "service.log").read_text()
