"""The work that is done elsewhere and at home: twelve frames and a graph of packages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from demo.fleet import Fleet
from demo.kinds import Graph
from demo.rebuild import by_state, follow
from demo.story import Story
from demo.user import User
from demo.watch import Watch
from tests.machines.same_work import frames, packages, wheels

FRAMES, CHUNK, SIZE = 12, 2, "160x90"
SCENE = Path(__file__).with_name("turntable.pov")
RENDER = ("--frames", f"1-{FRAMES}", "--chunk", str(CHUNK), "--size", SIZE, "--option", "+A0.3", "--owner", "artist")
BUILD = ("--owner", "builder")


class Work:
    """One film and one rebuild, through the farm of `user`; what comes of it is kept below `folder`."""

    def __init__(self, story: Story, user: User, folder: Path, pool: str, quiet: bool = False) -> None:
        """`quiet`: without pictures."""
        self._quiet = quiet
        self._story, self._user, self._folder, self._pool = story, user, folder, pool

    def film(self, fleet: Fleet) -> dict[str, str]:
        """Frame → the hash of its pixels."""
        story, user = self._story, self._user
        story.types(user.line("render", SCENE.name, *RENDER))
        job = int(user.json("render", str(SCENE), *RENDER)["id"])
        Watch(story, user, job, FRAMES, fleet, self._quiet).until_done()
        found = user.tasks(job)
        accepted = [sum(attempt["accepted"] for attempt in task["attempts"]) for task in found]
        story.claim(f"{len(found)} tasks, each accepted exactly once", accepted == [1] * (FRAMES // CHUNK), accepted)
        self._claim_there(found)
        story.types(user.line("get", str(job), "film"))
        user.farm("get", str(job), str(self._folder / "film"))
        made = frames(self._folder / "film")
        story.claim(f"{len(made)} frames", len(made) == FRAMES, sorted(made))
        return made

    def packages(self, fleet: Fleet, graph: Graph) -> dict[str, str]:
        """Wheel → its hash."""
        story, user = self._story, self._user
        tree = packages(self._folder / "packages", graph)
        story.types(user.line("rebuild", tree.name, *BUILD))
        tasks = follow(story, user, int(user.json("rebuild", str(tree), *BUILD)["id"]), fleet)
        story.claim(f"all {len(graph)} were built", by_state(tasks) == {"done": sorted(graph)}, by_state(tasks))
        ended = {task["name"]: task["finished"] for task in tasks}
        early = [
            (task["name"], need)
            for task in tasks
            for need in graph[task["name"]]
            if task["attempts"][-1]["started"] < ended[need]
        ]
        story.claim("each was begun after what it is built with was done", not early, early)
        self._claim_there(tasks)
        return wheels(user.home)

    def _claim_there(self, tasks: Iterable[dict[str, Any]]) -> None:
        pools = {one["id"]: one["pool"] for one in self._user.executors(every=True)}
        who = {attempt["executor"] for task in tasks for attempt in task["attempts"] if attempt["accepted"]}
        by = ", ".join(sorted(who))
        self._story.claim(f"done in pool {self._pool}, by {by}", {pools[name] for name in who} == {self._pool}, pools)
