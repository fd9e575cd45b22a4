"""A render as it goes: pictures as they come, executors as they come and go."""

from pathlib import PurePosixPath
from typing import Any

from demo.fleet import Fleet
from demo.story import Bar, Story
from demo.user import User
from farm.workloads.render.gallery import Gallery, is_frame


class Watch:
    """Follows one job of `frames` frames; a `quiet` one shows no pictures."""

    def __init__(self, story: Story, user: User, job: int, frames: int, fleet: Fleet, quiet: bool = False) -> None:
        self._quiet = quiet
        self._story, self._user, self._job, self._fleet = story, user, job, fleet
        self._gallery = Gallery(story.pictures)
        self._of, self._frames = frames, 0

    def until_done(self) -> None:
        found: dict[str, Any] = {}
        with self._story.bar("frames", self._of) as bar:
            for found in self._user.changes(self._job):
                self._step(found, bar)
        self._gallery.flush()
        if found["state"] != "done":
            self._story.text(self._user.farm("logs", str(self._job))[-3000:])
        why = found["state"] if found["state"] == "done" else self._why() or found["why"]
        self._story.claim("the job is done", found["state"] == "done", why)

    def _why(self) -> str:
        """What became of the tasks that failed."""
        failed = [task for task in self._user.tasks(self._job) if task["state"] == "failed"]
        return "; ".join(f"task {t['ref']}: {t['cause']}, exit {t['exit']}, {t['message']}" for t in failed)

    def _step(self, found: dict[str, Any], bar: Bar) -> None:
        self._fleet.look()
        for task in found["finished_tasks"]:
            for file in task["outputs"]:
                if task["state"] == "done" and is_frame(file["path"]):
                    self._frame(file, task["executor"])
        bar.at(self._frames, f"({self._fleet.summary()})")

    def _frame(self, file: dict[str, Any], executor: str) -> None:
        self._frames += 1
        if self._quiet:
            return
        if self._frames == 1:
            self._story.say(f"the first real frame, {self._story.seconds:.0f} s after the start")
        number = int("".join(letter for letter in PurePosixPath(file["path"]).stem if letter.isdigit()))
        self._gallery.add(self._user.download(file), f"frame {number:2} by {executor}")
