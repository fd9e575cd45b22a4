"""A person at a terminal: types `farm` commands into one home."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Shell:
    """Types commands into one home."""

    def __init__(self, home: Path, cwd: Path) -> None:
        self.home, self.cwd = home, cwd
        self.env = {**os.environ, "FARM_HOME": str(home), "PYTHONPATH": str(ROOT)}

    def start(self, *words: str, env=None, **options) -> subprocess.Popen:
        argv = [sys.executable, "-m", "farm", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(argv, cwd=self.cwd, env={**self.env, **(env or {})}, start_new_session=True, **pipes)

    def __call__(self, *words: str, status: int = 0) -> str:
        """Its stdout."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()  # no more than a word to one that has ended
        assert process.returncode == status, f"{words} ended with {process.returncode}:\n{out}\n{err}"
        self.err = err
        return out

    def json(self, *words: str):
        return json.loads(self(*words, "--json"))


def alive(pid: int) -> bool:
    """A zombie that nobody waits for is not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
