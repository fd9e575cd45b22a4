"""A film: 24 frames by executors that appear, one of which is killed; every frame once, with the right pixels."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from demo.biscuit import CREDIT
from demo.fleet import Fleet
from demo.outside import FRAMES, SIZE, Outside
from demo.story import Bar, Story
from demo.user import User
from demo.watch import Watch
from farm.workloads.render.pictures import pixels

KILL_AFTER = 7
VICTIM_ROLES = ("executor", "raylet", "agent")


def film(story: Story, user: User, outside: Outside, out: Path) -> None:
    story.act("A film", f"{FRAMES} frames of a turntable; the scene is {CREDIT}")
    job = _submit(story, user, outside.scene)
    fleet = Fleet(story, user)
    watch = Killing(story, user, job, FRAMES, fleet)
    watch.until_done()
    story.claim("the policy started two executors, and another for the killed one", len(fleet.met) >= 3)
    tasks = user.tasks(job)
    frames = [task for task in tasks if task["index"] is not None]
    _claim_once(story, frames, watch.killed)
    _claim_ends_first(story, frames)
    with tempfile.TemporaryDirectory(dir=user.home.parent) as folder:
        got = Path(folder, "got")
        story.types(user.line("get", str(job), "film"))
        user.farm("get", str(job), str(got))
        _claim_film(story, user, got)
        _claim_pixels(story, outside, got)
        for name in ("film.mp4", "contact.png"):
            shutil.copyfile(got / name, out / name)


def _submit(story: Story, user: User, scene: Path) -> int:
    size = f"{SIZE[0]}x{SIZE[1]}"
    told = ("--frames", f"1-{FRAMES}", "--size", size, "--turn", "--film", "--rate", "12", "--owner", "artist")
    story.types(user.line("render", scene.name, *told))
    return int(user.json("render", str(scene), *told)["id"])


class Killing(Watch):
    """In the middle, an executor is killed."""

    killed = ""

    def _step(self, found: dict[str, Any], bar: Bar) -> None:
        super()._step(found, bar)
        if not self.killed and self._frames >= KILL_AFTER:
            self.killed = self._kill()

    def _kill(self) -> str:
        """SIGKILL to the main process of a busy executor; its name, or nothing when none is busy just now."""
        busy = [one["id"] for one in self._user.executors() if one["state"] == "ready" and one["busy"]]
        pids = {(p["role"], p["executor"]): p["pid"] for p in self._user.processes()}
        for executor in busy:
            for role in VICTIM_ROLES:
                if pid := pids.get((role, executor)):
                    os.kill(pid, signal.SIGKILL)
                    self._story.shout(f"kill -9 {pid}: executor {executor} is gone in the middle of a frame")
                    return str(executor)
        return ""


def _claim_once(story: Story, frames: list[dict[str, Any]], killed: str) -> None:
    accepted = [sum(attempt["accepted"] for attempt in task["attempts"]) for task in frames]
    story.claim(f"{FRAMES} frames, each accepted exactly once", accepted == [1] * FRAMES, accepted)
    lost = [a for task in frames for a in task["attempts"] if a["executor"] == killed and a["state"] == "lost"]
    again = ", ".join(attempt["ref"] for attempt in lost)
    story.claim(f"what the killed executor was at ({again}) was done again elsewhere", killed and lost, killed)


def _claim_ends_first(story: Story, frames: list[dict[str, Any]]) -> None:
    begun = sorted(frames, key=lambda task: str(task["attempts"][0]["started"] or "~"))
    first = [task["index"] for task in begun[:3]]
    middle = {FRAMES // 2, FRAMES // 2 + 1}
    holds = {1, FRAMES} <= set(first) and middle & set(first)
    story.claim(f"first, middle and last came first: {', '.join(map(str, sorted(first)))}", holds, first)


def _claim_film(story: Story, user: User, got: Path) -> None:
    told = user.program("ffprobe", "-v", "error", "-of", "json", "-show_streams", str(got / "film.mp4"))
    stream = json.loads(told)["streams"][0]
    found = (stream["codec_name"], stream["width"], stream["height"], int(stream["nb_frames"]))
    story.claim(f"film.mp4 holds {FRAMES} pictures of {SIZE[0]}x{SIZE[1]}", found == ("h264", *SIZE, FRAMES), found)
    story.claim("contact.png shows them all", (got / "contact.png").stat().st_size > 10_000)


def _claim_pixels(story: Story, outside: Outside, got: Path) -> None:
    with story.bar("the same frames outside the farm", FRAMES) as bar:
        while not outside.finished(0.5):
            bar.at(outside.done())
    expected, found = outside.hashes(), _hashes(got.glob("frame*.png"))
    differ = sorted(number for number in expected.keys() | found.keys() if expected.get(number) != found.get(number))
    known = " (known from before)" if outside.cached else ""
    story.claim(f"pixels of every frame equal those of POV-Ray alone, outside the farm{known}", not differ, differ)


def _hashes(paths: Iterable[Path]) -> dict[int, str]:
    return {int(path.stem.removeprefix("frame")): pixels(path) for path in paths}
