"""Images that the cluster can run: made here, kept in the cache, handed to containerd. There is no registry."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.kubernetes import oci, place, space

PAUSE, SHELL = "localhost/pause:farm", "localhost/shell:farm"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nfarm:x:1000:1000:farm:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUP = "root:x:0:\nfarm:x:1000:\nnogroup:x:65534:\n"
VERSION = "'python%d.%d' % sys.version_info[:2]"
UNUSED = ["site-packages", "__pycache__", "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "config-*"]

Make = Callable[[Path], oci.Image]
"""Folder to work in → the image, its layers in that folder."""


def answers() -> bool:
    return subprocess.run(_ctr("version"), capture_output=True, check=False).returncode == 0


def basics(programs: Path) -> None:
    """The image of every pod's first process, and one with a shell."""
    have(PAUSE, "1", lambda work: _pause(programs, work))
    have(SHELL, "1", lambda work: oci.Image(SHELL, [shell_layer(work)], user="1000:1000"))


def have(name: str, key: str, make: Make) -> None:
    """See to it that the cluster has this image, and not one of this name that was made from something else."""
    with _alone():
        made, known = _archive(name, key, make), place.state() / f"image-{_stem(name)}"
        if name not in _imported() or not known.exists() or known.read_text() != key:
            subprocess.run(_ctr("images", "import", str(made)), check=True, capture_output=True)
            known.write_text(key)


def archive(name: str, key: str, make: Make) -> Path:
    """The image as an OCI archive, made unless it is there. `key` is of all that it is made from."""
    with _alone():
        return _archive(name, key, make)


def _archive(name: str, key: str, make: Make) -> Path:
    made = place.images() / f"{_stem(name)}-{key}.tar"
    if not made.exists():
        for old in made.parent.glob(f"{_stem(name)}-*.tar"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=made.parent) as work:
            oci.write(make(Path(work)), made)
    return made


def _stem(name: str) -> str:
    return name.replace("/", "-").replace(":", "-")


@contextmanager
def _alone() -> Iterator[None]:
    """Who makes one also takes away the one before, which somebody else may just be reading."""
    place.images().mkdir(parents=True, exist_ok=True)
    with open(place.images() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _imported() -> set[str]:
    return set(subprocess.run(_ctr("images", "ls", "-q"), capture_output=True, text=True, check=True).stdout.split())


def _ctr(*words: str) -> list[str]:
    return space.inside(["ctr", "-a", str(place.state() / "containerd.sock"), "-n", "k8s.io", *words])


def tar(folder: Path) -> Path:
    """A layer of all that is below the folder, root's."""
    target = folder.with_suffix(".layer")
    owners = ["--owner=0", "--group=0", "--sort=name", "--mtime=@0"]
    subprocess.run(["tar", "-C", str(folder), *owners, "-cf", str(target), "."], check=True)
    return target


def _pause(programs: Path, work: Path) -> oci.Image:
    (work / "pause").mkdir()
    shutil.copy(programs / "pause", work / "pause" / "pause")
    return oci.Image(PAUSE, [tar(work / "pause")], entrypoint=["/pause"], user="65535:65535")


def shell_layer(work: Path) -> Path:
    """Busybox under all its names, and who there is."""
    root = work / "shell"
    for name in ("bin", "etc", "tmp", "root", "proc", "sys", "dev", "usr/bin"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    busybox = root / "bin" / "busybox"
    shutil.copy(str(shutil.which("busybox")), busybox)
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text(GROUP)
    return tar(root)


def python_layer(work: Path, python: Path) -> Path:
    """The interpreter, its library, and the shared libraries that it needs; as /opt/python."""
    root = work / "python"
    prefix = _asked(python, "sys.base_prefix")
    version = _asked(python, VERSION)
    home = root / "opt" / "python"
    (home / "bin").mkdir(parents=True)
    shutil.copy(Path(prefix, "bin", version), home / "bin")
    for name in ("python3", "python"):
        (home / "bin" / name).symlink_to(version)
    skipped = shutil.ignore_patterns(*UNUSED)
    shutil.copytree(Path(prefix, "lib", version), home / "lib" / version, ignore=skipped, symlinks=True)
    (home / "lib" / version / "site-packages").mkdir()
    (root / "usr" / "lib").mkdir(parents=True)  # where it is looked for without being told
    for library in Path(prefix, "lib").glob(f"lib{version}*.so*"):
        shutil.copy(library, root / "usr" / "lib")
    _libraries(root)
    return tar(root)


def site_layer(work: Path, python: Path, name: str, packages: Sequence[str], besides: Sequence[str] = ()) -> Path:
    """Packages of this machine's own environment and all that they depend on, `besides` what is there already."""
    root = work / name
    target = root / site_folder(python)
    target.mkdir(parents=True)
    source = Path(_asked(python, "__import__('sysconfig').get_path('purelib')"))
    there = set(_files_of(python, besides))
    for file in _files_of(python, packages):
        if (
            file not in there
            and ".." not in file.parts
            and "__pycache__" not in file.parts
            and (source / file).exists()
        ):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, target / file)
    _libraries(root)
    return tar(root)


def programs_layer(work: Path, names: Sequence[str], files: Sequence[str]) -> Path:
    """Programs of this machine with the libraries and the files that they need."""
    root = work / "programs"
    (root / "usr" / "bin").mkdir(parents=True)
    for name in names:
        shutil.copy(str(shutil.which(name)), root / "usr" / "bin" / name)
    for file in files:
        shutil.copytree(file, root / file[1:])
    _libraries(root)
    return tar(root)


def site_folder(python: Path) -> str:
    return f"opt/python/lib/{_asked(python, VERSION)}/site-packages"


def _files_of(python: Path, packages: Sequence[str]) -> Iterable[Path]:
    """All files of distributions and of all that they depend on, relative to site-packages."""
    script = CLOSURE.format(packages=list(packages))
    told = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in told.splitlines()]


CLOSURE = """
import re
from importlib.metadata import PackageNotFoundError, distribution
from packaging.requirements import Requirement
todo, done = {packages!r}, set()
while todo:
    name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
    if name in done:
        continue
    done.add(name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        continue
    for text in found.requires or ():
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({{"extra": ""}}):
            todo.append(need.name)
    for file in found.files or () if name != "elastic-farm" else ():  # which is here as a link to this checkout
        print(file)
"""


def _libraries(root: Path) -> None:
    """Every shared library of the system that something below links to, at its own path."""
    files = [f for f in root.rglob("*") if f.is_file() and not f.is_symlink() and (".so" in f.name or _runs(f))]
    for start in range(0, len(files), 50):
        words = ["ldd", *(str(file) for file in files[start : start + 50])]
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        for word in told.split():
            if word.startswith(("/lib", "/usr/lib")) and ".so" in word and not (root / word[1:]).exists():
                (root / word[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(os.path.realpath(word), root / word[1:])


def _runs(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o111)


def _asked(python: Path, what: str) -> str:
    told = subprocess.run([python, "-c", f"import sys; print({what})"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def key_of(*parts: str | Path) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
    return digest.hexdigest()[:12]
