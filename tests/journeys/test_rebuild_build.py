"""Ten real source distributions, from a git repository to an index pip installs from, built by the shipped program.

The scheduling is done here by a few lines; everything else is what the farm uses.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

from executors.contract import FileRef
from executors.store import FolderStore
from farm.model import File, Item, JobSpec
from farm.workloads.packages.fetch import fetch
from farm.workloads.packages.index import publish
from farm.workloads.packages.plan import Plan, Wish, plan_rebuild, remember

NOTHING = "0" * 40


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Yard:
    """A repository of the sources, a store, and a place to build; remembers what was built."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        self.store, self.built, self.runs = FolderStore(folder / "store"), {}, 0
        fetch(self.work)
        git(self.work, "init", "--quiet")
        self.commit()

    def commit(self) -> None:
        git(self.work, "add", "--all", "--force")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "x")

    def edit(self, path: str, text: str) -> None:
        with (self.work / "packages" / path).open("a") as file:
            file.write(text)
        self.commit()

    def plan(self) -> Plan:
        wish = Wish("packager", self.store.put_bytes, self.folder / "cache")
        return plan_rebuild(self.work, "refs/heads/main", NOTHING, "HEAD", self.built, wish)

    def build(self, job: JobSpec, item: Item, wheels: dict[str, tuple[File, ...]]) -> tuple[int, str, tuple[File, ...]]:
        """One attempt in a scratch folder of its own: exit status, log, outputs."""
        self.runs += 1
        scratch = self.folder / f"run{self.runs}" / item.name
        scratch.mkdir(parents=True)
        gathered = [(f"wheels/{PurePosixPath(f.path).name}", f) for name in item.after for f in wheels.get(name, ())]
        for path, file in [(f.path, f) for f in (*job.steps[0].inputs, *item.inputs)] + gathered:
            self.store.place(FileRef(path, file.digest, file.size, file.mode), scratch)
        argv = [sys.executable if word == "{python}" else word for word in item.argv]
        env = {"PATH": os.environ["PATH"], **job.steps[0].env, **item.env}
        done = subprocess.run(argv, cwd=scratch, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, tuple(self.file(path) for path in scratch.glob("dist/*.whl"))

    def file(self, path: Path) -> File:
        mode, size = path.stat().st_mode & 0o777, path.stat().st_size
        return File(path=f"dist/{path.name}", digest=self.store.put_file(path), size=size, mode=mode)

    def run(self, job: JobSpec) -> list[str]:
        """All items in order, two at a time, those skipped that nothing new reaches; names of those built."""
        items = {item.name: item for item in job.steps[0].items}
        order, wheels, built = TopologicalSorter({n: i.after for n, i in items.items()}), {}, []
        order.prepare()
        with ThreadPoolExecutor(2) as pool:
            running: dict[Future, str] = {}
            while order.is_active():
                for name in order.get_ready():
                    running[pool.submit(self.step, job, items[name], items, wheels)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    wheels[name], ran = future.result()
                    built += [name] if ran else []
                    order.done(name)
        self.built = remember(job, wheels, self.built)
        return built

    def step(self, job, item, items, wheels) -> tuple[tuple[File, ...], bool]:
        if not item.changed and all(wheels[name] == items[name].previous for name in item.after):
            return item.previous, False
        status, log, made = self.build(job, item, wheels)
        assert status == 0, log
        return made, True


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    """After the first push: all ten are built."""
    yard = Yard(tmp_path_factory.mktemp("yard"))
    yard.first = yard.plan()
    yard.order = yard.run(yard.first.job)
    return yard


def test_the_set_closes_over_its_build_requirements(yard):
    edges = yard.first.edges
    assert len(edges) >= 8
    assert sum(map(len, edges.values())) >= 10
    assert yard.first.notes == ()
    assert edges["setuptools-scm"] == ("packaging", "setuptools", "vcs-versioning")
    assert sorted(yard.order) == sorted(edges)
    assert all(yard.order.index(need) < yard.order.index(name) for name in edges for need in edges[name])


def test_pip_installs_from_the_published_wheels(yard, tmp_path):
    outputs = [file for package in yard.built.values() for file in package.outputs]
    made = publish(outputs, yard.store, tmp_path / "simple")
    assert len(made) == len(yard.built) == 10
    command = [sys.executable, "-I", "-m", "pip", "install", "--isolated", "--no-cache-dir", "--quiet", "--no-compile"]
    command += [
        "--disable-pip-version-check",
        "--index-url",
        (tmp_path / "simple").as_uri(),
        "--target",
        tmp_path / "x",
    ]
    environment = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
    subprocess.run([*command, "setuptools-scm", "pluggy", "trove-classifiers"], env=environment, check=True)
    names = {path.name.split("-")[0] for path in (tmp_path / "x").glob("*.dist-info")}
    assert names == {"setuptools_scm", "vcs_versioning", "packaging", "setuptools", "pluggy", "trove_classifiers"}


def test_the_same_inputs_give_the_same_bytes(yard):
    job = yard.first.job
    known = {name: package.outputs for name, package in yard.built.items()}
    for item in job.steps[0].items:
        if item.name in ("flit-core", "pluggy"):
            assert yard.build(job, item, known)[2] == known[item.name]


def test_a_wrong_order_fails_with_its_reason(yard):
    (item,) = (item for item in yard.first.job.steps[0].items if item.name == "setuptools-scm")
    early = {name: yard.built[name].outputs for name in ("setuptools", "packaging")}
    status, log, made = yard.build(yard.first.job, item, early)
    assert (status, made) == (1, ())
    assert re.search(r"^setuptools-scm needs vcs-versioning.* built too early", log.splitlines()[-1])


def test_pushes_build_what_they_change_and_stop_where_nothing_new_comes_out(yard):
    assert yard.plan().why == "nothing to build: 10 packages as built before"

    yard.edit("iniconfig/src/iniconfig/__init__.py", "\n# a comment is part of the wheel\n")
    before = yard.built["iniconfig"].outputs
    assert yard.run(yard.plan().job) == ["iniconfig"]
    assert yard.built["iniconfig"].outputs != before

    yard.edit("packaging/pyproject.toml", "\n# a comment that no wheel carries\n")
    before = yard.built["packaging"].outputs
    plan = yard.plan()
    assert len(plan.job.steps[0].items) == 5
    assert yard.run(plan.job) == ["packaging"]
    assert yard.built["packaging"].outputs == before
    assert yard.plan().job is None
