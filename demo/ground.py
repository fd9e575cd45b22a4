"""What has to be there before a farm elsewhere can be shown; a sentence with the remedy where it is not."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from demo.kinds import Kind
from farm.refusal import Unavailable

ROOT = Path(__file__).parents[1]
TOOL = "tools/programs.sh"


def prepare(kind: Kind) -> None:
    """Programs are installed, as `make test-machines` does. Raises Unavailable."""
    again = shlex.join([str(Path(sys.executable).with_name("farm")), "demo", "--on", kind.name])
    if os.geteuid() != 0:
        raise Unavailable("machines, networks and disks are made by root", f"--on {kind.name}", f"type: sudo {again}")
    if missing := [name for name in kind.modules if find_spec(name) is None]:
        raise Unavailable(f"Python's {' and '.join(missing)} is missing", str(ROOT), "type there: make env")
    install(kind.programs)
    if kind.name == "kubernetes":
        _cluster()


def install(programs: Sequence[str]) -> None:
    """Groups of tools/programs.sh. Raises Unavailable."""
    done = subprocess.run(["sh", TOOL, *programs], cwd=ROOT, check=False)
    if done.returncode:
        remedy = f"see above; then type there: sh {TOOL} {' '.join(programs)}"
        raise Unavailable("programs that the demo needs could not be installed", str(ROOT), remedy)


def _cluster() -> None:
    """Building takes Go and about eight minutes, once."""
    from tools.kubernetes import place

    if shutil.which("go") is None:
        raise Unavailable(
            "the cluster is built from Go modules, and there is no Go here",
            "--on kubernetes",
            "install Go 1.26 or newer (https://go.dev/dl), then type the same again",
        )
    if not place.programs().exists():
        sys.stderr.write("the cluster is built first, once: about eight minutes of two cores\n")
