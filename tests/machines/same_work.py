"""A film and a graph of packages, computed at home and elsewhere: what comes out has to be equal."""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from farm.workloads.render.pictures import pixels
from tests.journeys.backend import BACKEND
from tests.journeys.shell import Shell

HOME = '[pools.local]\nprovider = "local"\nslots = 1\nceiling = 2\n'
SCENE = """#version 3.7;
camera { location <0, 1, -4> look_at 0 }
light_source { <5, 5, -5> rgb 1 }
sphere { clock*y, 1 pigment { rgb <1, clock, 0.5> } }
"""
FRAMES = 12
GRAPH: Mapping[str, Sequence[str]] = {"base": [], "leaf": ["base"]}


def at_home(folder: Path) -> Shell:
    """The same commands on this machine alone."""
    home = folder / "local"
    home.mkdir()
    (home / "farm.toml").write_text(HOME)
    return Shell(home, folder)


def film(shell: Shell, folder: Path, name: str) -> dict[str, str]:
    """Frames by name → the hash of their pixels."""
    scene = folder / "scene.pov"
    scene.write_text(SCENE)
    out = folder / name
    words = ("--frames", f"1-{FRAMES}", "--chunk", "2", "--size", "48x27", "--wait", "--out", str(out))
    shell("render", str(scene), *words)
    return frames(out)


def frames(folder: Path) -> dict[str, str]:
    """By name → the hash of their pixels."""
    return {f.name: pixels(f) for f in sorted(folder.rglob("frame*.png"))}


def packages(work: Path, graph: Mapping[str, Sequence[str]] = GRAPH) -> Path:
    """In git; `graph` says what each is built with."""
    for name, needs in graph.items():
        (work / name).mkdir(parents=True)
        (work / name / "own.py").write_text(BACKEND % {"name": name})
        text = f'[build-system]\nrequires={list(needs)}\nbuild-backend="own"\nbackend-path=["."]\n'
        (work / name / "pyproject.toml").write_text(f'{text}[project]\nname="{name}"\nversion="1"\n')
        (work / name / f"{name}.py").write_text("x = 1\n")
    git = ["git", "-C", str(work), "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *words], check=True)
    return work


def wheels(home: Path) -> dict[str, str]:
    """What is in the index by name → its hash; not what is about to come."""
    there = [f for f in (home / "index").rglob("*.whl") if not f.name.startswith(".")]
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in there}
