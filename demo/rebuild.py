"""Packages: a push builds what changed and what depends on it, in order; nothing is built twice."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo.fleet import Fleet
from demo.story import Story
from demo.user import User

LEAF, NEEDED = "iniconfig", "packaging"
GIT = {
    **{f"GIT_{who}_{what}": "demo" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "FARM_HOOK_WAIT_S": "120",
}


def rebuild(story: Story, user: User, out: Path) -> None:
    story.act("A rebuild", "real PyPI sources in a git repository, whose hook tells the farm of every push")
    repository = Repository(story, user, user.home.parent / "packages")
    names = repository.make()
    edges = _everything(story, user, repository, names)
    _nothing(story, repository)
    _leaf(story, user, repository)
    _comment(story, user, repository, [name for name, needs in edges.items() if NEEDED in needs])
    shutil.copytree(user.home / "index" / "simple", out / "simple")
    _install(story, user, out / "simple", names)


class Repository:
    """A bare repository with the hook, and a work tree that pushes to it."""

    def __init__(self, story: Story, user: User, tree: Path) -> None:
        self._story, self._user, self.tree = story, user, tree
        self._bare = tree.with_suffix(".git")

    def make(self) -> list[str]:
        """The names of the packages in it."""
        self._user.program(sys.executable, "-m", "farm.workloads.packages.fetch", str(self.tree))
        self._user.program("git", "init", "--quiet", "--bare", str(self._bare), env=self._env())
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", str(self._bare))
        self._story.types(self._user.line("hook", "install", self._bare.name))
        self._user.farm("hook", "install", str(self._bare))
        names = sorted(path.name for path in (self.tree / "packages").iterdir())
        self._story.claim(f"{len(names)} real source packages: {', '.join(names)}", len(names) >= 8)
        return names

    def push(self, message: str) -> tuple[int | None, str]:
        """Commit everything and push; the job the hook tells of, if any, and its words."""
        self._git("add", "--all", "--force")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)
        self._story.types(f"git commit -m {message!r} && git push")
        done = subprocess.run(
            ("git", "push", "--quiet", "origin", "main"),
            cwd=self.tree,
            env=self._env(),
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line.partition("farm: ")[2].strip() for line in done.stderr.splitlines() if "farm: " in line]
        assert done.returncode == 0, f"the push failed: {done.stderr}"
        assert said, f"the hook said nothing: {done.stderr}"
        for line in said:
            self._story.say(f"remote: {line}")
        job = re.search(r"\bjob (\d+)", " ".join(said))
        return int(job[1]) if job else None, " ".join(said)

    def append(self, file: str, text: str) -> None:
        with (self.tree / "packages" / file).open("a") as into:
            into.write(text)

    def _git(self, *arguments: str) -> None:
        self._user.program("git", *arguments, cwd=self.tree, env=self._env())

    @staticmethod
    def _env() -> Mapping[str, str]:
        return {**os.environ, **GIT}


def _everything(story: Story, user: User, repository: Repository, names: list[str]) -> dict[str, list[str]]:
    """The first push; what each package was built with, as its log says."""
    job, said = repository.push("all packages")
    tasks = _pushed(story, user, job, said)
    story.claim(f"all {len(names)} were built", by_state(tasks) == {"done": names}, by_state(tasks))
    edges = {task["name"]: _needs(user, task["ref"]) for task in tasks}
    count = sum(map(len, edges.values()))
    story.claim(f"{count} build dependencies, each from the farm's own index", count >= 10, edges)
    times = {task["name"]: task for task in tasks}
    early = [
        (name, need)
        for name, needs in edges.items()
        for need in needs
        if need in times and times[name]["attempts"][-1]["started"] < times[need]["finished"]
    ]
    story.claim("every package was begun after what it needs was done", not early, early)
    return edges


def _nothing(story: Story, repository: Repository) -> None:
    job, said = repository.push("the same tree again")
    story.claim("the same tree again builds nothing", job is None, said)


def _leaf(story: Story, user: User, repository: Repository) -> None:
    repository.append(f"{LEAF}/src/{LEAF}/__init__.py", "\n# a change\n")
    tasks = _pushed(story, user, *repository.push(f"change {LEAF}, which nothing needs"))
    story.claim(f"a change in {LEAF} builds that one", by_state(tasks) == {"done": [LEAF]}, by_state(tasks))


def _comment(story: Story, user: User, repository: Repository, dependents: list[str]) -> None:
    repository.append(f"{NEEDED}/pyproject.toml", "\n# a comment\n")
    tasks = _pushed(story, user, *repository.push(f"a comment for {NEEDED}, which {len(dependents)} others need"))
    found = by_state(tasks)
    holds = found.get("done") == [NEEDED] and set(found) <= {"done", "skipped"} and len(dependents) > 0
    text = f"a comment builds {NEEDED}, whose wheel is the same byte for byte, and {', '.join(dependents)} stay"
    story.claim(text, holds, found)


def _pushed(story: Story, user: User, job: int | None, said: str) -> list[dict[str, Any]]:
    """The tasks of the job that a push made, when it has ended."""
    assert job is not None, f"the push made no job: {said}"
    return follow(story, user, job, Fleet.now(story, user))


def follow(story: Story, user: User, job: int, fleet: Fleet) -> list[dict[str, Any]]:
    """Watch a rebuild to its end; its tasks."""
    found: dict[str, Any] = {}
    with story.bar("packages", 0) as bar:
        for found in user.changes(job):
            fleet.look()
            for task in found["finished_tasks"]:
                story.say(f"{task['name']}: {task['state']}")
            over = sum(found["tasks"][state] for state in ("done", "failed", "cancelled", "skipped"))
            bar.at(over, f"({fleet.summary()})", found["tasks"]["total"])
    if found["state"] != "done":
        story.text(user.farm("logs", str(job))[-3000:])
    story.claim(f"job {job} is done", found["state"] == "done", found["why"] or found["state"])
    return user.tasks(job)


def by_state(tasks: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in sorted(tasks, key=lambda task: str(task["name"])):
        found.setdefault(task["state"], []).append(task["name"])
    return found


def _needs(user: User, ref: str) -> list[str]:
    """`building NAME with a-1.0-py3-none-any.whl, …`: the wheels its build was given."""
    line = next((line for line in user.farm("logs", ref).splitlines() if line.startswith("building ")), "")
    wheels = re.findall(r"([A-Za-z0-9_.]+?)-[^\s,-]+-[^\s,]+\.whl", line)
    return [wheel.replace("_", "-").lower() for wheel in wheels]


def _install(story: Story, user: User, index: Path, names: list[str]) -> None:
    """Into a new folder, with pip's own settings left out."""
    with_pip = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet")
    url = index.resolve().as_uri()
    target = user.home.parent / "installed"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    story.types(f"pip install --index-url file://…/{index.name} {' '.join(names)}")
    user.program(
        *with_pip, "--no-cache-dir", "--no-input", "--index-url", url, "--target", str(target), *names, env=clean
    )
    found = sorted(path.name.partition("-")[0].replace("_", "-").lower() for path in target.glob("*.dist-info"))
    story.claim("pip installs all of them from the folder", found == names, found)
