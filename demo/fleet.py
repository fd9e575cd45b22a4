"""Executors that come and go, told as it happens."""

from demo.story import Story
from demo.user import User


class Fleet:
    """Remembers every executor met: id → last state seen."""

    def __init__(self, story: Story, user: User) -> None:
        self._story, self._user = story, user
        self.met: dict[str, str] = {}
        self.most = 0  # that were there at once

    @classmethod
    def now(cls, story: Story, user: User) -> "Fleet":
        """Only what is new from now on is told."""
        made = cls(story, user)
        made.met = {one["id"]: one["state"] for one in user.executors(every=True)}
        return made

    def look(self) -> None:
        """Tell what is new."""
        for one in self._user.executors(every=True):
            name, state = one["id"], one["state"]
            if self.met.get(name) == state or (state == "ordered" and one["ready"] is None and name not in self.met):
                continue
            self.met[name] = state
            if state == "ready":
                self._story.say(f"＋ executor {name} is ready: {one['why']}")
            elif state in ("gone", "lost"):
                self._story.say(f"－ executor {name} is {state}: {one['why']}")
        self.most = max(self.most, self._ready())

    def _ready(self) -> int:
        return sum(state in ("ready", "draining") for state in self.met.values())

    def summary(self) -> str:
        ready = self._ready()
        return f"{ready} executor{'s' * (ready != 1)}"
