"""Executors that come and go, told as it happens."""

from demo.story import Story
from demo.user import User


class Fleet:
    """Remembers every executor met: id → last state seen."""

    def __init__(self, story: Story, user: User) -> None:
        self._story, self._user = story, user
        self.met: dict[str, str] = {}

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

    def summary(self) -> str:
        ready = sum(state in ("ready", "draining") for state in self.met.values())
        return f"{ready} executor{'s' * (ready != 1)}"
