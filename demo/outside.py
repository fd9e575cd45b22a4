"""The same film rendered by POV-Ray alone, outside the farm, meanwhile and at the lowest priority."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO

from demo.biscuit import turning
from demo.story import Broken
from farm.workloads.render.pictures import pixels

SIZE = (480, 270)
FRAMES = 24
HALVES = ((1, FRAMES // 2), (FRAMES // 2 + 1, FRAMES))
ARGV = (
    *("nice", "-n", "19", "povray", "turning.pov", "-D", "+WT1"),
    *(f"+W{SIZE[0]}", f"+H{SIZE[1]}", "+KFI1", f"+KFF{FRAMES}", "+KC"),
)


class Outside:
    """Starts rendering when entered; the hashes are kept outside the checkout, so that next time they are `cached`.

    Two processes of one thread each: on several threads POV-Ray repeats itself only nearly.
    """

    def __init__(self, scene: Path, folder: Path) -> None:
        self.scene, self._folder, self._text = scene, folder, turning(scene)
        self._cache = _cache() / f"{self._key()}.json"
        self.cached = self._cache.exists()
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Outside":
        if not self.cached:
            self._folder.mkdir()
            (self._folder / "turning.pov").write_text(self._text, "latin-1")
            with (self._folder / "log").open("ab") as log:
                self._running = [self._start(first, last, log) for first, last in HALVES]
        return self

    def _start(self, first: int, last: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        argv = (*ARGV, f"+SF{first}", f"+EF{last}")
        return subprocess.Popen(argv, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._running:
            process.kill()
            process.wait()

    def done(self) -> int:
        """Frames there are by now, nearly."""
        return max(0, len(list(self._folder.glob("turning*.png"))) - len(self._running))

    def finished(self, timeout_s: float) -> bool:
        """Whether it is complete; waits up to `timeout_s`."""
        try:
            for process in self._running:
                process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def hashes(self) -> dict[int, str]:
        """Frame number → hash of its pixels. Raises Broken."""
        if self.cached:
            return {int(number): digest for number, digest in json.loads(self._cache.read_text()).items()}
        found = {int(path.stem[-2:]): pixels(path) for path in self._folder.glob("turning*.png")}
        if any(process.wait() for process in self._running) or len(found) != FRAMES:
            raise Broken(f"POV-Ray alone failed: {(self._folder / 'log').read_text(errors='replace')[-500:]}")
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        coming = self._cache.with_suffix(f".{os.getpid()}")
        coming.write_text(json.dumps(found))
        coming.replace(self._cache)
        return found

    def _key(self) -> str:
        """Everything the pixels depend on."""
        version = subprocess.run(("povray", "--version"), capture_output=True, check=False, stdin=subprocess.DEVNULL)
        told = (self._text.encode("latin-1"), version.stdout, version.stderr, repr((ARGV, HALVES)).encode())
        return hashlib.sha256(b"\0".join(told)).hexdigest()[:32]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "elastic-farm", "outside")
