"""`farm doctor`: what could go wrong on this machine and in this home, each finding with its remedy."""

import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farm import names
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import clean, emit
from farm.cli.reach import home_of
from farm.client import Unreachable, connect
from farm.home import BadHome, Home
from farm.refusal import Refusal

if TYPE_CHECKING:
    from farm.database_url import Address

LITTLE, TOO_LITTLE = 2 << 30, 200 << 20
PROGRAMS = {"git": "for packages and hooks", "povray": "for rendering", "ffmpeg": "for films"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is ok, warning (something will not be possible) or error (the farm will not work)."""

    check: str
    level: str
    found: str
    remedy: str = ""


def doctor(home: HomeOption = None, json: JsonOption = False) -> int:
    """Changes nothing but what `farm up` would make in the home. Exit 3 when something is an error."""
    findings = list(examine(home_of(home, "doctor")))
    if json:
        emit({"ok": not _errors(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
    return 3 if _errors(findings) else 0


def _errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "error"]


def _print(finding: Finding) -> None:
    sign = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}[finding.level]
    print(clean(f"{sign}  {finding.check}: {finding.found}"))
    if finding.remedy:
        print(clean(f"         → {finding.remedy}"))


def examine(home: Home) -> Iterator[Finding]:
    """All checks, none of which can fail otherwise than by its finding."""
    yield python(sys.version_info[:3])
    yield own_names(names.owners(), names.shadowed())
    yield ray(_ray_version())
    writable = home_folder(home)
    yield writable
    if writable.level != "error":
        yield disk(home, shutil.disk_usage(home.path).free)
        yield token(home)
        yield settings(home)
        yield database(home)
        yield service(home)
    yield hold()
    yield limits()
    yield from programs(shutil.which)


def python(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version < (3, 11):
        return Finding("python", "error", f"{text} is too old", "install Python 3.11 or newer")
    return Finding("python", "ok", text)


def own_names(owners: Mapping[str, Sequence[str]], shadowed: str = "") -> Finding:
    """Nobody else may own our import names here."""
    others = names.foreign(owners)
    if others:
        remedy = f"pip uninstall {min(others.values())}, or install {names.DISTRIBUTION} into a venv of its own"
        found = ", ".join(f"{name} belongs to {who}" for name, who in others.items())
        return Finding("names", "error", found, remedy)
    if shadowed:
        return Finding("names", "error", shadowed, f"install {names.DISTRIBUTION} into a venv of its own")
    return Finding("names", "ok", f"{', '.join(names.PACKAGES)} are ours")


def _ray_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ray")
    except PackageNotFoundError:
        return ""


def ray(version: str) -> Finding:
    from executors.site.ray_private import PINNED

    if version != PINNED:
        found = f"{version} instead of {PINNED}" if version else "not installed"
        return Finding("ray", "error", found, f"pip install ray=={PINNED}: its inside differs between versions")
    return Finding("ray", "ok", version)


def home_folder(home: Home) -> Finding:
    try:
        home.make()
        with tempfile.TemporaryFile(dir=home.path) as probe:
            probe.write(b"?" * 4096)
            os.fsync(probe.fileno())
    except BadHome as error:
        return Finding("home", "error", *str(error).split("; ", 1))
    except OSError as error:
        return Finding(
            "home", "error", f"can't write in {home.path}: {error}", "choose another with --home or FARM_HOME"
        )
    if len(os.fsencode(home.socket)) > 107:
        return Finding("home", "error", f"{home.socket} is too long for a socket", "set TMPDIR to a shorter folder")
    return Finding("home", "ok", f"{home.path}, sockets in {home.run}")


def disk(home: Home, free: int) -> Finding:
    text = f"{free / 2**30:.1f} GiB free in {home.path}"
    if free >= LITTLE:
        return Finding("disk", "ok", text)
    return Finding("disk", "error" if free < TOO_LITTLE else "warning", text, "make room, or move the home")


def token(home: Home) -> Finding:
    mode = stat.S_IMODE(home.token_file.stat().st_mode)
    if mode & 0o077:
        return Finding("token", "error", f"others can read {home.token_file}", f"chmod 600 {home.token_file}")
    return Finding("token", "ok", "only this user can read it")


def settings(home: Home) -> Finding:
    from farm.config import BadConfig, load

    try:
        load(home.config_file)
    except BadConfig as error:
        return Finding("farm.toml", "error", str(error), f"edit {home.config_file}")
    return Finding("farm.toml", "ok", "read" if home.config_file.exists() else "none: the defaults hold")


def database(home: Home) -> Finding:
    """Looked at only, next to a running service too."""
    from farm.config import BadConfig, load
    from farm.database_url import BadUrl, find

    try:
        place = find(home, load(home.config_file))
    except BadConfig:  # told as a finding of its own
        return Finding("database", "ok", "not looked at")
    except BadUrl as error:
        return Finding("database", "error", error.what, error.remedy)
    return _file(place.path) if place.path else _server(place)


def _file(path: Path) -> Finding:
    if not path.exists():
        return Finding("database", "ok", "none yet")
    try:
        said = _quick_check(path)
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        remedy = f"`farm down`, keep a copy of {path}, then: sqlite3 {path} .recover"
        return Finding("database", "error", f"damaged: {said}", remedy)
    return Finding("database", "ok", f"intact, {path.stat().st_size / 2**20:.1f} MiB")


def _server(place: "Address") -> Finding:
    """PostgreSQL: whether it is there, may be written and agrees on the time."""
    from farm.clock import SystemClock
    from farm.db import BadDatabase, explained
    from farm.server_health import health

    db = place.connect()
    try:
        with explained(place.where), db.read() as tx:
            found = health(tx, SystemClock())
    except BadDatabase as error:
        return Finding("database", "error", error.what, error.remedy)
    finally:
        db.close()
    return Finding("database", "warning" if found.remedy else "ok", f"{place.where}: {found.what}", found.remedy)


def _quick_check(path: Path) -> str:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    finally:
        connection.close()


def service(home: Home) -> Finding:
    try:
        with connect(home) as client:
            found = client.get("/v1/status")
    except Unreachable as error:
        stale = home.socket.exists()
        level = "warning" if stale else "ok"
        return Finding("service", level, error.what if stale else "not running", "start it with `farm up`")
    except Refusal as error:
        return Finding("service", "error", str(error), f"read {home.service_log}, then `farm down` and `farm up`")
    return Finding("service", "ok", f"answers; version {found['version']}, runs on {found['engine']}")


def hold() -> Finding:
    """How firmly tasks are held here."""
    from executors.site.rung import rung

    best = rung()
    if best.loses:
        return Finding("isolation", "warning", f"{best.name}: {best.loses}", "run as root, or in a container that may")
    return Finding("isolation", "ok", best.name)


def limits() -> Finding:
    """How exactly the memory and the number of processes of a task can be limited."""
    from executors.site.ground import base

    cage = base()
    lacks = [name for name, there in (("memory", cage.memory), ("processes", cage.pids)) if not there]
    if not lacks:
        return Finding("limits", "ok", "control groups hold memory and processes")
    found = f"no control group holds {' and '.join(lacks)}: looked at a few times a second, so a task can go beyond"
    remedy = "as a user: `systemd-run --user --scope farm up`; as a service: Delegate=yes and DelegateSubgroup=farm; "
    remedy += "with control groups of version 1: as root"
    return Finding("limits", "warning", found, remedy)


def programs(find: Callable[[str], str | None]) -> Iterator[Finding]:
    for name, purpose in PROGRAMS.items():
        path = find(name)
        if path:
            yield Finding(name, "ok", path)
        else:
            yield Finding(name, "warning", f"missing; needed {purpose}", f"apt-get install {name}")
