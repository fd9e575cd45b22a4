"""`python -m farm.workloads.packages.fetch DEST`: a pinned set of real sdists as DEST/packages/NAME source trees.

They come through pip, are checked against the lock, and are kept in $XDG_CACHE_HOME/elastic-farm/sdists, so that the
second time needs no network.
"""

import argparse
import hashlib
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from executors.passed_on import OUTWARD, passed_on
from farm.refusal import Refusal
from farm.workloads.packages.build import extract
from farm.workloads.packages.lock import Pin, read_lock

EXAMPLE = Path(__file__).parents[3] / "examples" / "packages" / "requirements.txt"


def fetch(destination: Path, lock: Path = EXAMPLE) -> tuple[Path, ...]:
    """The source trees made. Raises Refusal when a tree is there already or an sdist can't be had as locked."""
    pins, base = read_lock(lock), destination / "packages"
    for pin in pins:
        if (base / pin.name).exists():
            raise Refusal(f"{base / pin.name} is there already", remedy="choose an empty folder")
    archives = sdists(pins, cache_folder())
    return tuple(unpack(archive, base / pin.name) for pin, archive in zip(pins, archives, strict=True))


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/elastic-farm/sdists, else below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "elastic-farm", "sdists")


def sdists(pins: Sequence[Pin], cache: Path) -> tuple[Path, ...]:
    """The archives in the order of `pins`, from the cache where they are whole, else through pip."""
    wanted = [pin for pin in pins if not _is_whole(cache / pin.digest, pin)]
    if wanted:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".coming-") as coming:
            _download(wanted, Path(coming))
            for pin in wanted:
                os.replace(_found(pin, Path(coming)), cache / pin.digest)
    return tuple(cache / pin.digest for pin in pins)


def unpack(archive: Path, folder: Path) -> Path:
    """The one top folder of an sdist becomes `folder`; only plain data comes out of the archive (PEP 706)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
        try:
            with tarfile.open(archive) as members:
                extract(members, Path(scratch))
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
            raise Refusal(f"{archive} can't be unpacked: {error}"[:500], remedy="see PEP 625") from error
        tops = list(Path(scratch).iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            raise Refusal(f"{archive} is no sdist: it has not one top folder", remedy="see PEP 625")
        tops[0].rename(folder)
    return folder


def _is_whole(path: Path, pin: Pin) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == pin.digest
    except OSError:
        return False


def _download(pins: Iterable[Pin], coming: Path) -> None:
    lock = coming / "lock.txt"
    pins = tuple(pins)
    lock.write_text("".join(f"{pin.name}=={pin.version} --hash=sha256:{pin.digest}\n" for pin in pins))
    quick = [sys.executable, "-m", f"{__package__}.download", str(lock), str(coming)]
    names = ",".join(pin.name for pin in pins)
    stock = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", names, "--require-hashes"]
    stock += ["--requirement", str(lock), "--dest", str(coming)]
    first = subprocess.run(quick, capture_output=True, text=True, check=False, env=_environment())
    if first.returncode:
        second = subprocess.run(stock, capture_output=True, text=True, check=False, env=_environment())
        if second.returncode:
            said = second.stderr.strip().splitlines()[-3:] or first.stderr.strip().splitlines()[-3:]
            raise Refusal(f"pip could not fetch the set: {' '.join(said)}", remedy="see `pip config list`")


def _environment() -> dict[str, str]:
    """pip runs what is in a source package: it sees what it needs to fetch one, and no secrets of ours."""
    pips = (name for name in os.environ if name.startswith(("PIP_", "PYTHON", "XDG_")))
    return passed_on(*pips, *OUTWARD, "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def _found(pin: Pin, coming: Path) -> Path:
    for path in coming.rglob("*"):
        if path.is_file() and _is_whole(path, pin):
            return path
    raise Refusal(f"what pip fetched for {pin.name} {pin.version} has another hash than the lock", remedy="trust none")


def _program(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m farm.workloads.packages.fetch", description=__doc__)
    parser.add_argument("destination", type=Path, help="folder that receives packages/NAME")
    parser.add_argument("--lock", type=Path, default=EXAMPLE, help="pins with hashes (default: the shipped example)")
    given = parser.parse_args(arguments)
    try:
        made = fetch(given.destination, given.lock)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"{len(made)} source trees below {given.destination / 'packages'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(_program())
