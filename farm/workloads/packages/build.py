"""Builds one wheel on an executor: `python build.py NAME` in a scratch folder. Needs Python >= 3.11 and its pip only.

Reads source.tar (the package's folder) and wheels/ (what it is built with), writes dist/*.whl. pip sees an index made
of those wheels and nothing else: no configuration, no environment, no other index. The same inputs give the same
bytes: fixed date, umask, hash seed and locale.
"""
# ruff: noqa: T201 - a program of its own, whose output is the log of the task

import hashlib
import html
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

_ABSENT = re.compile(r"No matching distribution found for (.+?)(?: \(from .*)?$", re.MULTILINE)


def main(name: str, scratch: Path) -> int:
    """0 when there is one wheel in dist/. Says what it does on stdout; the last line of a failure says why."""
    os.umask(0o022)
    shutil.rmtree(scratch / "dist", ignore_errors=True)
    unpack(scratch / "source.tar", scratch / "source")
    wheels = make_index(scratch / "wheels", scratch / "simple")
    print(f"building {name} with {', '.join(wheels) or 'nothing'}", flush=True)
    status, tail = run_pip(scratch)
    made = sorted((scratch / "dist").glob("*.whl"))
    if status or len(made) != 1:
        print(reason(name, status, tail, wheels), flush=True)
        return status or 1
    made[0].chmod(0o644)
    print(summary(made[0]), flush=True)
    return 0


def unpack(archive: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as members:
        extract(members, folder)


def extract(archive: tarfile.TarFile, folder: Path, own_filter: bool = hasattr(tarfile, "data_filter")) -> None:
    """Plain files, folders and links that stay inside come out; anything else raises tarfile.TarError.

    Python has a filter for this since 3.11.4 (PEP 706), and Debian 12 has 3.11.2: there we are somewhat stricter.
    """
    if own_filter:
        archive.extractall(folder, filter="data")
    else:
        links = {os.path.normpath(member.name) for member in archive if member.issym()}
        archive.extractall(folder, members=[_plain(member, links) for member in archive])


def _plain(member: tarfile.TarInfo, links: set[str]) -> tarfile.TarInfo:
    """The member as ours, without special bits. A link may not go up, nor may anything lie below a link."""
    path = PurePosixPath(os.path.normpath(member.name))
    ways = [path, PurePosixPath(member.linkname)] if member.issym() or member.islnk() else [path]
    if any(way.is_absolute() or ".." in way.parts for way in ways) or links & {str(above) for above in path.parents}:
        raise tarfile.ExtractError(f"{member.name!r} would leave the folder")
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise tarfile.ExtractError(f"{member.name!r} is neither a file nor a folder")
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    return member


def make_index(wheels: Path, index: Path) -> list[str]:
    """A PEP 503 folder that points at the wheels; their names."""
    shutil.rmtree(index, ignore_errors=True)
    index.mkdir()
    found = sorted(wheels.rglob("*.whl")) if wheels.is_dir() else []
    pages: dict[str, str] = {}
    for wheel in found:
        project = re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        link = f"{wheel.as_uri()}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"
        pages[project] = pages.get(project, "") + f'<a href="{html.escape(link)}">{html.escape(wheel.name)}</a>\n'
    for project, page in pages.items():
        (index / project).mkdir()
        (index / project / "index.html").write_text(f"<!DOCTYPE html>\n{page}")
    return [wheel.name for wheel in found]


def run_pip(scratch: Path) -> tuple[int, str]:
    """(exit status, the last lines it said), saying them all on the way."""
    command = [sys.executable, "-I", "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--isolated"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--retries", "0"]
    command += ["--index-url", (scratch / "simple").as_uri(), "--wheel-dir", str(scratch / "dist")]
    for folder in ("home", "tmp"):
        (scratch / folder).mkdir(exist_ok=True)
    process = subprocess.Popen(
        [*command, str(scratch / "source")],
        cwd=scratch,
        env=environment(scratch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    tail = deque(told(process), maxlen=200)
    return process.wait(), "".join(tail)


def environment(scratch: Path) -> Mapping[str, str]:
    """Nothing of the caller's but the search path. PIP_CONFIG_FILE=/dev/null turns every configuration file off."""
    prefix = f"-ffile-prefix-map={scratch}=."
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "1577836800"),
        "GIT_CEILING_DIRECTORIES": str(scratch.parent),  # a version must not come from a repository around us
        "CFLAGS": prefix,
        "CXXFLAGS": prefix,
    }


def told(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    for line in process.stdout or ():
        text = line.decode(errors="replace")
        print(text, end="", flush=True)
        yield text


def reason(name: str, status: int, tail: str, wheels: list[str]) -> str:
    if "No module named pip" in tail:
        return f"{name}: {sys.executable} has no pip; install it on the executors: python -m ensurepip"
    absent = _ABSENT.search(tail)
    if absent:
        given = ", ".join(wheels) or "none"
        return (
            f"{name} needs {absent[1].strip()}, and no wheel given to this build meets that (given: {given}): "
            "it was built too early, or its requirement is not declared"
        )
    return f"{name}: pip ended with status {status}" if status else f"{name}: pip made no wheel"


def summary(wheel: Path) -> str:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{wheel.name}: {wheel.stat().st_size} bytes, sha256 {digest}, {used.ru_utime + used.ru_stime:.1f} CPU s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "package", Path.cwd()))
