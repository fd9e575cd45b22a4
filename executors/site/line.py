"""The line to a keeper: its process, words out, words in."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import executors
from executors.site.cage import NO_CAGE, Cage
from executors.site.ground import home
from executors.site.proc import children
from executors.site.rung import Rung, rung
from executors.site.veil import Covered

CLOSE_S = 1.0
_ROOT = str(Path(executors.__file__).parents[1])
_KEEPER = "import sys; sys.path.append(sys.argv.pop(1)); from executors.site.keeper import main; main(*sys.argv[1:])"


class Line:
    """Starts a keeper on the best rung. The thread that makes it must outlive it (`pdeathsig`).

    `cage` is the group of the executor: limits on memory and processes hold by it, or without it less exactly.
    """

    def __init__(
        self,
        folder: Path,
        slot: int,
        env: Mapping[str, str],
        held: Rung | None = None,
        cage: Cage = NO_CAGE,
        python: str = sys.executable,
        veil: Sequence[Covered] = (),
    ) -> None:
        self.scratch = folder / "scratch" / str(slot)
        self.slot, self.cage = slot, cage
        held = held or rung()
        self.alone = held.alone
        words: list[str | Path] = [
            _ROOT,
            folder / "spool",
            str(slot),
            self.scratch,
            "alone" if held.alone else "shared",
        ]
        with open(folder / "keeper.log", "ab") as log:
            self._process = subprocess.Popen(
                [*held.prefix, python, "-ISE", "-c", _KEEPER, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        assert self._process.stdin
        assert self._process.stdout
        self.into, self.out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self.into, False)
        self._rest, self._unsaid = b"", bytearray()
        env = {**env, "TMPDIR": str(self.scratch), "FARM_SCRATCH": str(self.scratch)}
        veil = veil if held.veils else ()
        self.say({"env": env, "home": home() if self.cage else NO_CAGE, "cage": self.cage, "veil": veil})

    @property
    def pid(self) -> int:
        """The keeper's own; that of the process above it while there is none yet."""
        return min(children(self._process.pid), default=self._process.pid)

    def say(self, word: Mapping[str, Any]) -> None:
        """Never blocks: what the pipe does not take waits for `flush`. A dead keeper is noticed by `hear`, not here."""
        self._unsaid += json.dumps(word, separators=(",", ":")).encode() + b"\n"
        self.flush()

    @property
    def waits(self) -> bool:
        """Whether there is more to be said as soon as `into` is writable."""
        return bool(self._unsaid)

    def flush(self) -> None:
        try:
            while self._unsaid:
                del self._unsaid[: os.write(self.into, self._unsaid)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsaid.clear()

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
            self._process.wait(CLOSE_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._kill()
        self._process.stdout.close()
        for cage in self.cage.inside():
            if cage.name.startswith(f"{self.slot}."):
                cage.remove()

    def _kill(self) -> None:
        """It does not hear. What watches over it ends what is left; that may be frozen too."""
        for pid in {self.pid, self._process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL if pid != self._process.pid else signal.SIGTERM)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
