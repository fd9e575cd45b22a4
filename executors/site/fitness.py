"""Whether a machine can work for a farm at all, and what its pool wants set up before."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from executors.invitation import PROTOCOL, Invitation

LEAST_FREE = 256 << 20  # bytes
LINES = 20  # of what failed are told
RAY = (2, 60)  # the release of Ray whose ways are known here; patches of it may differ


class Unfit(Exception):
    """This machine can't be an executor; one sentence says why, and what to do."""


def check(invitation: Invitation, folder: Path) -> str:
    """The version of Ray here, "" where none is needed. Raises Unfit."""
    if abs(invitation.protocol - PROTOCOL) > 1:
        raise Unfit(f"its ticket speaks protocol {invitation.protocol}, this program {PROTOCOL}: use the farm's own")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise Unfit(f"only {free >> 20} MiB are free in {folder}: make room, or name another folder with --folder")
    return _ray() if invitation.engine == "ray" else ""


def _ray() -> str:
    try:
        found = version("ray") if find_spec("ray") else None
    except PackageNotFoundError:
        found = None
    wanted = ".".join(map(str, RAY))
    if found is None:
        raise Unfit(f"{sys.executable} has no Ray: `{sys.executable} -m pip install 'ray=={wanted}.*'`")
    if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) != RAY:
        raise Unfit(f"{sys.executable} has Ray {found}, and this program knows {wanted}: install 'ray=={wanted}.*'")
    return found


def set_up(invitation: Invitation, folder: Path) -> None:
    """Run the pool's script, if it has one. Raises Unfit with its last lines."""
    if not invitation.setup:
        return
    script, said = folder / "setup", folder / "setup.log"
    with open(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "w") as file:
        file.write(invitation.setup)
    words = [str(script)] if invitation.setup.startswith("#!") else ["sh", str(script)]
    try:
        with open(said, "wb") as log:
            code = subprocess.call(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    except OSError as error:
        raise Unfit(f"the pool's setup script can't be started: {error.strerror}") from error
    if code:
        tail = said.read_text(errors="replace").splitlines()[-LINES:]
        raise Unfit("\n".join([f"the pool's setup script ended with status {code}:", *tail]))
