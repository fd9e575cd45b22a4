"""Keeps the one gateway of this home alive: adopts a living one, starts another when it dies."""

import fcntl
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from executors.passed_on import passed_on
from farm.home import Home

log = logging.getLogger(__name__)

PAUSE_S = 1.0  # between two starts of a gateway that keeps dying


class Supervisor:
    """Starts `python -m executors.site.gateway` and starts it again."""

    def __init__(self, home: Home, site: str, engine: str) -> None:
        self._run, self._log_file = home.run, home.gateway_log
        options = {"run": home.run, "farm": home.identity(), "site": site, "socket": home.socket}
        options |= {"token": home.token_file, "engine": engine}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        self._argv = [sys.executable, "-m", "executors.site.gateway", *words]
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, end: bool) -> None:
        """Stop looking after it; with `end`, end it too (executors are ended before)."""
        with self._starting:
            self._closed.set()
        if end:
            self._end()

    def _keep(self) -> None:
        while not self._closed.is_set():
            if not self._adopt():
                return
            process = self._launch()
            if process is None:
                return
            code = process.wait()
            if not self._closed.is_set():
                log.warning("the gateway ended with %s; another one is started", code)
            self._closed.wait(PAUSE_S)

    def _adopt(self) -> bool:
        """Block while a gateway of an earlier service lives."""
        with open(self._run / "gateway.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        return not self._closed.is_set()

    def _launch(self) -> subprocess.Popen[bytes] | None:
        with self._starting, open(self._log_file, "ab") as out:
            if self._closed.is_set():
                return None
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=_empty(self._run),
                env=passed_on(*(name for name in os.environ if name.startswith("PYTHON"))),
            )
            return self._process

    def _end(self) -> None:
        """Its own child by handle; and who signed the lock: an adopted one, or one that was quicker than ours."""
        from executors.site.process import end_by_file

        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        end_by_file(self._run / "gateway.lock")


def _empty(run: Path) -> Path:
    """A private empty folder: a foreign `executors/` in the working directory would shadow ours on workers."""
    folder = run / "cwd"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder
