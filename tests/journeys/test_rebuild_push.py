"""Two pushes into a repository with the farm's hook, the first of which is built longer than the second."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.home import Home
from tests.journeys.backend import BACKEND
from tests.journeys.shell import Shell

WAITS = '    if "slow" in open("leaf.py").read():\n        open(%r).readline()\n'


class Desk:
    """A running farm of two slots, a bare repository with its hook, and a checkout with one package."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work, self.bare, self.gate = (folder / name for name in ("h", "work", "bare.git", "gate"))
        (self.work / "leaf").mkdir(parents=True)
        self.home.mkdir()
        settings = '[site]\nengine = "plain"\n[pools.local]\nprovider = "local"\nslots = 1\nceiling = 2\n'
        (self.home / "farm.toml").write_text(settings)
        self.shell = Shell(self.home, folder)
        os.mkfifo(self.gate)
        backend = (BACKEND % {"name": "leaf"}).replace("    name =", WAITS % str(self.gate) + "    name =")
        (self.work / "leaf" / "own.py").write_text(backend)
        text = '[build-system]\nrequires=[]\nbuild-backend="own"\nbackend-path=["."]\n'
        (self.work / "leaf" / "pyproject.toml").write_text(f'{text}[project]\nname="leaf"\nversion="1"\n')
        self.git("init", "--quiet")
        self.git("init", "--quiet", "--bare", str(self.bare))

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
        argv = ["git", "-C", str(self.work), *who, *words]
        done = subprocess.run(argv, env=self.shell.env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def push(self, text: str = "") -> str:
        """What the hook says."""
        if text:
            (self.work / "leaf" / "leaf.py").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("push", str(self.bare), "HEAD:refs/heads/main")

    def let_go(self, job: str) -> None:
        """The slow build goes on; until its job has ended."""
        gate = os.open(self.gate, os.O_RDWR)  # blocks nobody, should the build never come to it
        try:
            os.write(gate, b"go\n")
            self.shell("wait", job)
        finally:
            os.close(gate)

    def index(self) -> bytes:
        return (self.home / "index" / "simple" / "leaf" / "leaf-1-py3-none-any.whl").read_bytes()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="fp-") as folder:
        made = Desk(Path(folder))
        try:
            made.shell("up")
            made.shell("hook", "install", str(made.bare))
            yield made
        finally:
            made.shell("down")
            assert not Home(made.home).run.exists()


def test_the_index_holds_what_was_pushed_last_in_whatever_order_the_builds_end(desk):
    assert "farm: job 1: 1 of 1 package to build: leaf" in desk.push("x = 1  # slow\n")
    assert "farm: job 2: 1 of 1 package to build: leaf" in desk.push("x = 2\n")
    desk.shell("wait", "2")
    desk.let_go("1")
    assert "nothing to build: 1 package as built before" in desk.push()
    assert b"x = 2" in desk.index()

    assert "farm: job 3: 1 of 1 package to build: leaf" in desk.push("x = 3  # slow\n")
    assert "nothing to build: 1 package as built before; leaf stays so" in desk.push("x = 2\n")
    desk.let_go("3")
    assert "nothing to build: 1 package as built before" in desk.push()
    assert b"x = 2" in desk.index()
