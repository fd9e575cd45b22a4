"""What a person types and asks: the command line, and the HTTP API where something moves."""

import json
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from farm.client import Client, Unreachable, connect
from farm.home import Home

FARM = str(Path(sys.executable).with_name("farm"))
PATIENCE_S = 120
ENDED = ("done", "failed", "cancelled")


class User:
    """Somebody with a home for a farm, and so much patience between the ends of two tasks."""

    def __init__(self, home: Path, patience_s: float = PATIENCE_S) -> None:
        self.home, self.patience_s = home, patience_s

    def line(self, *arguments: str) -> str:
        """A command as it would be typed."""
        return shlex.join(("farm", *arguments))

    def farm(self, *arguments: str) -> str:
        """The output of a command, which must succeed."""
        return self.program(FARM, *arguments, "--home", str(self.home))

    def json(self, *arguments: str) -> Any:
        return json.loads(self.farm(*arguments, "--json"))

    def program(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Standard output of any program, which must succeed; what it said on stderr when it did not."""
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(argv)} ended with {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout

    def client(self) -> Client:
        return connect(Home(self.home))

    def get(self, path: str, **query: object) -> Any:
        with self.client() as client:
            return client.get(path, **query)

    def executors(self, every: bool = False) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/executors", all=every or None)["executors"]
        return found

    def processes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/status")["processes"]
        return found

    def changes(self, job: int) -> Iterator[dict[str, Any]]:
        """The job every two seconds and whenever it changed, with the tasks that ended meanwhile; lastly its end."""
        seen, moved = 0, time.monotonic()
        with self.client() as client:
            while True:
                found = client.get(f"/v1/jobs/{job}/wait", timeout=2, seen=seen)
                moved = time.monotonic() if found["finished_tasks"] else moved
                seen = found["seen"]
                yield found
                if found["state"] in ENDED:
                    return
                late = time.monotonic() > moved + self.patience_s
                assert not late, f"no task of job {job} ended for {self.patience_s:.0f} s"

    def tasks(self, job: int) -> list[dict[str, Any]]:
        """All tasks of a job with their attempts."""
        listed = self.get(f"/v1/jobs/{job}/tasks", limit=1000)["tasks"]
        return [self.get(f"/v1/tasks/{task['ref']}") for task in listed]

    def download(self, file: Mapping[str, Any]) -> bytes:
        import io

        into = io.BytesIO()
        with self.client() as client:
            client.download(file["digest"], into)
        return into.getvalue()

    def leave(self) -> None:
        """Stop the farm, if there is one, whatever happened, and leave nothing in the folder for temporary files."""
        if self.home.exists():
            subprocess.run((FARM, "down", "--terminate", "--home", str(self.home)), capture_output=True, check=False)
            shutil.rmtree(Home(self.home).run, ignore_errors=True)

    def last_words(self) -> str:
        """The end of the service's log."""
        try:
            lines = Home(self.home).service_log.read_text(errors="replace").strip().splitlines()[-15:]
        except OSError as error:
            return f"no log of the service: {error}"
        return "\n".join(["the service's last words:", *lines])


def until(holds: Callable[[], object], patience_s: float) -> bool:
    """Whether something asked of the API comes true in time."""
    end = time.monotonic() + patience_s
    pause = threading.Event()
    while True:
        try:
            if holds():
                return True
        except Unreachable:
            pass
        if time.monotonic() > end:
            return False
        pause.wait(0.2)
