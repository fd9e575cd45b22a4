"""A Ray node of an executor, started without importing Ray: the head left the recipe in `<run>/ray/raylet.json`.

Standard library only: `import ray` costs a second, an exec of the raylet a tenth of one.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executors.errors import Lost

LABEL = "farm.io/executor"
FOLDER_VARIABLE = "FARM_EXECUTOR_FOLDER"
STORE_VARIABLE = "FARM_STORE"
BELL_VARIABLE = "FARM_BELL"

_DIE_WITH_PARENT = (  # for hosts without setpriv; 1 is PR_SET_PDEATHSIG
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9,0,0,0);os.execv(sys.argv[1],sys.argv[1:])"
)


def ray_folder(run: str) -> Path:
    """What belongs to the Ray of one run: token, database, sockets, recipes."""
    return Path(run) / "ray"


def node_folder(run: str, executor: str) -> Path:
    """Ray's own temporary folder of an executor. Short: it holds Unix sockets (107 bytes at most)."""
    return ray_folder(run) / "n" / hashlib.sha256(executor.encode()).hexdigest()[:8]


def bell(run: str, executor: str) -> Path:
    """Where the agent of an executor hears that it is called, see `executors.site.rest`."""
    return node_folder(run, executor) / "bell"


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step by a file only its owner can read."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def start_raylet(
    run: str, executor: str, slots: int, folder: str, *, store: str = "", timeout_s: float = 60
) -> "subprocess.Popen[bytes]":
    """Start the Ray node of an executor as a child that dies with the calling thread; the caller must reap it.

    Call it from a thread that lives as long as the process (the kernel's parent-death signal follows the thread).
    Waits up to `timeout_s` for a head. Raises Lost when none comes.
    """
    recipe = _recipe(run, timeout_s)
    temporary = node_folder(run, executor)
    shutil.rmtree(temporary, ignore_errors=True)
    values = {
        "@NODE@": secrets.token_hex(28),
        "@TEMP@": str(temporary),
        "@SLOTS@": str(slots),
        "@LABELS@": json.dumps({LABEL: executor}),
    }
    lay_out(recipe, values)
    surroundings = {
        FOLDER_VARIABLE: folder,
        STORE_VARIABLE: store or os.environ.get(STORE_VARIABLE, ""),
        BELL_VARIABLE: str(bell(run, executor)),
    }
    return spawn(
        [*dying_with_parent(), *(fill(word, values) for word in recipe["argv"])],
        environment(recipe["env"]) | surroundings,
        temporary / "raylet.log",
    )


def _recipe(run: str, timeout_s: float) -> dict[str, Any]:
    """The head writes the recipe by rename; files have no event of their own in the library, so look every 20 ms."""
    path = ray_folder(run) / "raylet.json"
    deadline = time.monotonic() + timeout_s
    never = threading.Event()
    while (found := read_json(path)) is None:
        if time.monotonic() > deadline:
            raise Lost(f"no Ray head wrote {path} within {timeout_s:g} s")
        never.wait(0.02)
    return found


def fill(text: str, values: Mapping[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def lay_out(recipe: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Make the folders and files that the node expects to find."""
    for name in recipe["folders"]:
        Path(fill(name, values)).mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in recipe["files"].items():
        Path(fill(name, values)).write_text(fill(text, values))


def environment(ray: Mapping[str, str]) -> dict[str, str]:
    """Our environment with all of Ray's own variables replaced by ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return kept | dict(ray)


def spawn(argv: list[str], env: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, its output in `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def dying_with_parent() -> list[str]:
    """Words before a command line that end it with the thread that has started it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else [sys.executable, "-ISE", "-c", _DIE_WITH_PARENT]
