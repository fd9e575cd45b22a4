"""What machines start from: layers of files, made once, kept outside the checkout under the key of their recipe.

plain       a bare Debian with python3 and venv, as a cloud's image has it; pip and apt find the bench's registry
ray         plain, and python3 has the ray of the lock file, and pip to build packages with
povray      ray, POV-Ray and ffmpeg
python3.12  plain, and python3 is 3.12 with ray (python3.13 alike): a Python other than the farm's
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.machines.network import ROUTER

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "machine-image.sh"
LOCK = ROOT / "requirements" / "run.txt"
PACKAGES = "ca-certificates,python3,python3-venv"
DEBS = ("povray", "povray-includes", "ffmpeg")
PYTHONS = {"python3.12": "3.12", "python3.13": "3.13"}
WEEK_S = 7 * 86400
IMAGES = ("plain", "ray", "povray", *PYTHONS)

PLAIN = f"""set -e
mv /etc/apt/sources.list /run/sources.list
echo 'deb [trusted=yes] http://{ROUTER}/debs ./' >/etc/apt/sources.list
rm -f /etc/apt/sources.list.d/*
printf '[global]\\nindex-url = http://{ROUTER}/simple/\\ntrusted-host = {ROUTER}\\n' >/etc/pip.conf
printf 'APT::Sandbox::User "root";\\n' >/etc/apt/apt.conf.d/90bench
rm -f /usr/sbin/policy-rc.d
"""
RAY = """set -e
python3 -m venv /tmp/v
/tmp/v/bin/pip -q --python /usr/bin/python3 install --break-system-packages --no-index --root-user-action ignore \\
  --find-links /run/given/wheels ray pip pyproject-hooks
python3 -c 'import ray, pip'
"""
POVRAY = """set -e
echo 'deb [trusted=yes] file:/run/given/debs ./' >/run/here.list
apt-get -qq -o Dir::Etc::SourceList=/run/here.list -o APT::Sandbox::User=root update
apt-get -qq -o Dir::Etc::SourceList=/run/here.list -o APT::Sandbox::User=root install -y --no-install-recommends \\
  povray povray-includes ffmpeg >/dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""
OTHER_PYTHON = """set -e
mkdir -p /opt && cp -a /run/given/python /opt/python
ln -s /opt/python/bin/python3 /usr/local/bin/python3
echo /opt/python/lib >/etc/ld.so.conf.d/python.conf && ldconfig
python3 -m pip -q install --no-index --root-user-action ignore --find-links /run/given/wheels ray pip pyproject-hooks
python3 -c 'import ray'
"""


class Missing(OSError):
    """A component of the bench can't be made here; one sentence with the remedy."""


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "elastic-farm" / "machines"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def layers(image: str) -> list[Path]:
    """Folders, lowest first; made if missing. Raises Missing."""
    if image not in IMAGES:
        raise ValueError(f"no image is called {image}; there are {', '.join(IMAGES)}")
    with _alone():
        if image == "plain":
            return [_root(), _plain()]
        if image in PYTHONS:
            return [*_below("plain"), _other_python(PYTHONS[image])]
        below = [*_below("plain"), _layer("ray", RAY, _below("plain"), _registry())]
        return below if image == "ray" else [*below, _layer("povray", POVRAY, below, _registry())]


def _below(image: str) -> list[Path]:
    assert image == "plain"
    return [_root(), _plain()]


def registry() -> Path:
    """`wheels` (ray and what it needs, for each Python) and `debs` (with their index): what machines can install; made
    if missing. Raises Missing."""
    with _alone():
        return _registry()


def _registry() -> Path:
    pins = ray_pins(LOCK.read_text())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    words = ["registry 1", *pins, *DEBS, *sorted({python, *PYTHONS.values()}), _root().name]
    return _kept("registry", words, _make_registry)


def ray_pins(lock: str) -> list[str]:
    """Lines `name==version` of ray, of what builds packages, and of all they need, by the "via" remarks of the lock."""
    pins, via = {}, {}
    for block in re.split(r"\n(?=[a-z0-9])", lock):
        if found := re.match(r"([a-z0-9._-]+)==(\S+)", block):
            pins[found[1]] = found[0]
            via[found[1]] = set(re.findall(r"#\s+(?:via )?([a-z0-9._-]+)$", block, re.MULTILINE))
    wanted = {"ray", "pip", "pyproject-hooks"}
    while more := {name for name, users in via.items() if users & wanted} - wanted:
        wanted |= more
    return sorted(pins[name] for name in wanted)


def _make_registry(folder: Path) -> None:
    (folder / "wheels").mkdir()
    pins = ray_pins(LOCK.read_text())
    for python in ("", *PYTHONS.values()):
        which = ["--python-version", python] if python else []
        _run(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "download", "--no-deps",
             "--only-binary=:all:", *which, "-d", str(folder / "wheels"), *pins)  # fmt: skip
    known = LOCK.read_text()
    for wheel in (folder / "wheels").iterdir():
        if hashlib.sha256(wheel.read_bytes()).hexdigest() not in known:
            raise Missing(f"{wheel.name} is not the file of requirements/run.txt; please type: make lock")
    _run("sh", str(TOOL), "debs", str(_root()), str(folder / "debs"), *DEBS)
    (folder / "debs" / "Packages").write_text("".join(_stanza(deb) for deb in sorted((folder / "debs").glob("*.deb"))))


def _stanza(deb: Path) -> str:
    fields = subprocess.run(["dpkg-deb", "-f", str(deb)], check=True, capture_output=True, text=True).stdout
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{fields.rstrip()}\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n"


def _root() -> Path:
    release = Path("/etc/os-release").read_text()
    words = ["root 1", PACKAGES, release]
    return _kept("root", words, lambda folder: _run("sh", str(TOOL), "root", str(folder), PACKAGES))


def _plain() -> Path:
    return _layer("plain", PLAIN, [_root()], None)


def _other_python(version: str) -> Path:
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*")) or sorted(Path("/opt").glob(f"python{version}*"))
    if not found:
        raise Missing(f"no Python {version} for the machines; please type: pyenv install {version}")
    given = {"python": found[-1]}
    return _layer(f"python{version}", OTHER_PYTHON, _below("plain"), _registry(), given)


def _layer(name: str, script: str, below: list[Path], given: Path | None, more: dict[str, Path] | None = None) -> Path:
    words = [script, *(layer.name for layer in below), given.name if given else ""]
    words += [str(path) for path in (more or {}).values()]

    def make(folder: Path) -> None:
        lower = ":".join(str(layer) for layer in reversed(below))
        with tempfile.TemporaryDirectory(dir="/var/tmp") as gifts:
            for path in [*(given.iterdir() if given else ()), *(more or {}).values()]:
                gift = next((k for k, v in (more or {}).items() if v == path), path.name)
                subprocess.run(["cp", "-al" if path.stat().st_dev == Path(gifts).stat().st_dev else "-a",
                                str(path), f"{gifts}/{gift}"], check=True)  # fmt: skip
            _run("sh", str(TOOL), "layer", lower, str(folder), "sh", "-c", script, GIVEN=gifts)

    return _kept(name, words, make)


def _kept(kind: str, words: list[str], make: Callable[[Path], object]) -> Path:
    """The folder of this recipe; made beside and renamed, so that it is whole or not there. Older ones go."""
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
    folder = cache() / f"{kind}-{key}"
    if not folder.exists():
        for old in cache().glob(f"{kind}-*.new*"):
            _remove(old)
        print(f"making {kind} for the machines of the tests (once)", file=sys.stderr, flush=True)
        fresh = folder.with_name(folder.name + ".new")
        fresh.mkdir()
        make(fresh)
        fresh.rename(folder)
        _forget(kind)
    os.utime(folder)
    return folder


def _forget(kind: str) -> None:
    """Those of recipes that nobody has used for a week."""
    for old in cache().glob(f"{kind}-*"):
        if time.time() - old.stat().st_mtime > WEEK_S:
            _remove(old)


def _run(*argv: str, **env: str) -> None:
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        raise Missing(f"{' '.join(argv[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One maker at a time on this machine."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
