"""Rebuilds and renders typed by a person, in a farm on plain processes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.home import Home
from tests.journeys.backend import BACKEND

ROOT = Path(__file__).parents[2]
SCENE = "camera { location <0,1,-3> look_at 0 } light_source { <2,4,-3> rgb 1 } sphere { 0, 1 pigment { rgb <1,0,0> } }"


class Desk:
    """One home with a running farm, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work = folder / "home", folder / "work"
        self.work.mkdir()
        self.home.mkdir()
        (self.home / "farm.toml").write_text('[site]\nengine = "plain"\n')

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "farm", *words],
            cwd=self.work,
            env={**os.environ, "FARM_HOME": str(self.home), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.said = done.stderr
        assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def package(self, name: str, requires: list[str]) -> Path:
        folder = self.work / "tree" / name
        folder.mkdir(parents=True)
        (folder / f"{name}_own.py").write_text(BACKEND % {"name": name})
        (folder / f"{name}.py").write_text("x = 1\n")
        build = f'[build-system]\nrequires={requires!r}\nbuild-backend="{name}_own"\nbackend-path=["."]\n'
        (folder / "pyproject.toml").write_text(f'{build}[project]\nname="{name}"\nversion="1"\n')
        return folder


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="fw-") as folder:
        made = Desk(Path(folder))
        try:
            made("up")
            yield made
        finally:
            made("down")
            assert not Home(made.home).run.exists()


def test_a_rebuild_builds_what_changed_and_what_needs_it(desk):
    base = desk.package("base", [])
    desk.package("above", ["base"])
    desk("rebuild", "tree", "--wait")
    assert "2/2 done" in desk.said
    wheels = {path.name for path in (desk.home / "index" / "simple").rglob("*.whl")}
    assert wheels == {"base-1-py3-none-any.whl", "above-1-py3-none-any.whl"}
    assert json.loads(desk("rebuild", "tree", "--json"))["id"] is None
    (base / "base.py").write_text("x = 2\n")
    desk("rebuild", "tree", "--wait")
    assert "2/2 done" in desk.said
    with (base / "pyproject.toml").open("a") as file:
        file.write("# a comment\n")
    desk("rebuild", "tree", "--wait")
    assert "1/2 done, 1 skipped" in desk.said


def test_a_render_fetches_frames_and_film_as_they_finish(desk):
    (desk.work / "ball.pov").write_text(SCENE)
    words = ("--frames", "1-3", "--size", "32x24", "--turn", "--film", "--out", "frames", "--project", "balls")
    desk("render", "ball.pov", *words)
    found = {path.name for path in (desk.work / "frames").iterdir()}
    assert found == {"frame1.png", "frame2.png", "frame3.png", "film.mp4", "contact.png"}
    job = json.loads(desk("jobs", "--json", "--limit", "1"))["jobs"][0]
    assert (job["kind"], job["name"], job["project"], job["state"]) == ("render", "ball.pov", "balls", "done")
