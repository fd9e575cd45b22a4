"""The published folder: what pip finds there, and what never gets in."""

import hashlib
import io
import re
import subprocess
import sys
import zipfile

import pytest

from executors.store import FolderStore
from farm.model import File
from farm.refusal import Refusal
from farm.workloads.packages.index import publish


def wheel(name: str = "some_tool", version: str = "1.0", body: str = "x = 1\n", project: str = "") -> tuple[str, bytes]:
    project, packed = project or name, io.BytesIO()
    folder = f"{project}-{version}.dist-info"
    files = {
        f"{name}.py": body,
        f"{name}_vendor/other-2.dist-info/METADATA": "",
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n",
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{folder}/RECORD", "".join(f"{path},,\n" for path in files))
    return f"{name}-{version}-py3-none-any.whl", packed.getvalue()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "store")


@pytest.fixture
def index(tmp_path):
    return tmp_path / "with space" / "simple"


def put(store, *wheels):
    return [File(path=f"dist/{name}", digest=store.put_bytes(data), size=len(data)) for name, data in wheels]


def state(folder):
    return {p.relative_to(folder): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_pip_installs_from_it(store, index, tmp_path):
    publish(put(store, wheel("base"), wheel("some_tool")), store, index)
    command = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "install",
        "--isolated",
        "--target",
        str(tmp_path / "here"),
        "--no-deps",
    ]
    command += ["--index-url", index.as_uri(), "--no-cache-dir", "--disable-pip-version-check", "some-tool==1.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "some_tool.py").read_text() == "x = 1\n"


def test_pages_name_files_with_their_hashes(store, index):
    name, data = wheel()
    (made,) = publish(put(store, (name, data)), store, index)
    assert made == index / "some-tool" / name
    (link,) = re.findall('href="([^"]+)"', (index / "some-tool" / "index.html").read_text())
    assert link == f"{name}#sha256={hashlib.sha256(data).hexdigest()}"
    assert re.findall('href="([^"]+)"', (index / "index.html").read_text()) == ["some-tool/"]


def test_publishing_again_touches_nothing(store, index):
    outputs = put(store, wheel("base"), wheel("some_tool"))
    publish(outputs, store, index)
    before = state(index)
    publish(outputs[1:], store, index)
    assert state(index) == before


def test_old_versions_stay_and_one_name_is_replaced(store, index):
    publish(put(store, wheel(version="1.0"), wheel(version="2.0")), store, index)
    name, data = wheel(version="2.0", body="x = 2\n")
    publish(put(store, (name, data)), store, index)
    page = (index / "some-tool" / "index.html").read_text()
    assert (index / "some-tool" / name).read_bytes() == data
    assert re.findall(">([^<]+)</a>", page) == ["some_tool-1.0-py3-none-any.whl", name]
    assert hashlib.sha256(data).hexdigest() in page


@pytest.mark.parametrize(
    "bad",
    [
        ("tool-1.0.tar.gz", b"x"),
        ("tool-1.0-py3-none-any.whl", b"no zip"),
        ("some_tool-1.0-py3-none-any.whl", wheel(project="other")[1]),
        ("index.html", b"<html>"),
    ],
)
def test_what_is_no_wheel_is_refused_and_nothing_is_written(store, index, bad):
    with pytest.raises(Refusal, match="is no wheel"):
        publish(put(store, wheel("base"), bad), store, index)
    assert not index.exists()
