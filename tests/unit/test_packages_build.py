"""The program that builds on an executor, as an executor runs it: a plain script in a scratch folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from farm.workloads.packages.pack import pack
from farm.workloads.packages.package import read_packages
from farm.workloads.packages.plan import PROGRAM
from farm.workloads.packages.source import FolderTree

# A backend that puts what it sees of its surroundings into the wheel.
BACKEND = """
import os, stat, time, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    umask = os.umask(0); os.umask(umask)
    seen = {"umask": umask, "epoch": os.environ["SOURCE_DATE_EPOCH"], "names": sorted(os.environ)}
    name = "%(name)s-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        def add(path, text):
            wheel.writestr(zipfile.ZipInfo(path), text)
        add("%(name)s.py", "seen = " + repr(seen))
        add("%(name)s-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: %(name)s\\nVersion: 1\\n")
        add("%(name)s-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        add("%(name)s-1.dist-info/RECORD", "")
    return name
"""


def source(folder: Path, name: str, requires: list[str]) -> bytes:
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}_own.py").write_text(BACKEND % {"name": name})
    build = f'[build-system]\nrequires={requires!r}\nbuild-backend="{name}_own"\nbackend-path=["."]\n'
    (folder / name / "pyproject.toml").write_text(f'{build}[project]\nname="{name}"\nversion="1"\n')
    tree = FolderTree(folder)
    return pack(tree, read_packages(tree)[name])


def build(scratch: Path, packed: bytes, *wheels: Path, **environment: str) -> tuple[int, str, list[Path]]:
    scratch.mkdir(parents=True)
    shutil.copy(PROGRAM, scratch / "build.py")
    (scratch / "source.tar").write_bytes(packed)
    for wheel in wheels:
        (scratch / "wheels").mkdir(exist_ok=True)
        shutil.copy(wheel, scratch / "wheels")
    done = subprocess.run(
        [sys.executable, "build.py", "thing"],
        cwd=scratch,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, sorted((scratch / "dist").glob("*"))


def test_builds_are_equal_whatever_the_folder_and_the_surroundings(tmp_path):
    packed = source(tmp_path / "src", "thing", [])
    status, said, (one,) = build(tmp_path / "one", packed)
    assert status == 0
    assert said.splitlines()[0] == "building thing with nothing"
    assert hashlib.sha256(one.read_bytes()).hexdigest() in said.splitlines()[-1]
    before = os.umask(0o077)
    try:
        status, _, (two,) = build(
            tmp_path / "a" / "deeper one",
            packed,
            PIP_INDEX_URL="file:///nowhere",
            PIP_NO_BUILD_ISOLATION="0",
            PYTHONPATH="/nowhere",
            SECRET="x",
            TZ="Asia/Tokyo",
        )
    finally:
        os.umask(before)
    assert one.read_bytes() == two.read_bytes()
    assert two.stat().st_mode & 0o777 == 0o644
    with zipfile.ZipFile(two) as wheel:
        seen = wheel.read("thing.py").decode()
    assert "'umask': 18" in seen
    assert "SECRET" not in seen
    assert "'1577836800'" in seen


def test_what_is_needed_comes_from_the_given_wheels_and_a_wrong_order_is_told(tmp_path):
    needed, packed = source(tmp_path / "a", "needed", []), source(tmp_path / "b", "thing", ["needed>=1"])
    status, said, made = build(tmp_path / "early", packed)
    assert (status, made) == (1, [])
    assert said.splitlines()[-1] == (
        "thing needs needed>=1, and no wheel given to this build meets that (given: none): "
        "it was built too early, or its requirement is not declared"
    )
    status, _, (wheel,) = build(tmp_path / "needed", needed)
    assert status == 0
    status, said, made = build(tmp_path / "in time", packed, wheel)
    assert status == 0, said
    assert [path.name for path in made] == ["thing-1-py3-none-any.whl"]


def test_the_farms_own_packages_are_not_there_to_build_with(tmp_path):
    packed = source(tmp_path / "src", "thing", ["pydantic"])
    status, said, _ = build(tmp_path / "one", packed)
    assert status == 1
    assert "thing needs pydantic" in said.splitlines()[-1]


def test_a_backend_that_fails_is_a_failure(tmp_path):
    (tmp_path / "src").mkdir()
    source(tmp_path / "src", "thing", [])
    (tmp_path / "src/thing/thing_own.py").write_text("raise SystemExit('broken backend')")
    tree = FolderTree(tmp_path / "src")
    status, said, made = build(tmp_path / "one", pack(tree, read_packages(tree)["thing"]))
    assert (status, made) == (1, [])
    assert "broken backend" in said
    assert said.splitlines()[-1] == "thing: pip ended with status 1"


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path):
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(tmp_path / "x", "../out")
    status, _, made = build(tmp_path / "s" / "one", (tmp_path / "bad.tar").read_bytes())
    assert status != 0
    assert made == []
    assert not (tmp_path / "s" / "one" / "out").exists()
    assert not (tmp_path / "s" / "out").exists()


def test_the_program_needs_the_standard_library_only():
    alone = [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({str(PROGRAM)!r})"]
    assert subprocess.run(alone, check=False).returncode == 0
