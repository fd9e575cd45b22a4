"""The line to a keeper: its process, words out, words in."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executors.site import keeper
from executors.site.rung import Rung, rung


class Line:
    """Starts a keeper on the best rung. The thread that makes it must outlive it (`pdeathsig`)."""

    def __init__(self, folder: Path, slot: int, env: Mapping[str, str], held: Rung | None = None) -> None:
        self.scratch = folder / "scratch" / str(slot)
        held = held or rung()
        self.alone = held.alone
        words: list[str | Path] = [
            keeper.__file__,
            folder / "spool",
            str(slot),
            self.scratch,
            "alone" if held.alone else "shared",
        ]
        with open(folder / "keeper.log", "ab") as log:
            self._process = subprocess.Popen(
                [*held.prefix, sys.executable, "-ISE", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self.out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._rest = b""
        self.say({"env": {**env, "TMPDIR": str(self.scratch), "FARM_SCRATCH": str(self.scratch)}})

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, word: Mapping[str, Any]) -> None:
        """A dead keeper is noticed by `hear`, not here."""
        data = json.dumps(word, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except BrokenPipeError:
            pass

    def hear(self) -> list[dict[str, Any]] | None:
        """What it has said; None when it is gone. Call it when `out` is readable."""
        data = os.read(self.out, 1 << 20)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End the keeper and, with it, all below."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.close()
            self._process.wait(1)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
