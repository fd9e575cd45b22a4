"""The story, act by act."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from demo.bill import bill, gone
from demo.biscuit import find_scene
from demo.film import film
from demo.outside import Outside
from demo.rebuild import rebuild
from demo.story import Broken, Story
from demo.user import User
from farm.refusal import Refusal

OUT = Path(__file__).parents[1] / "demo-out"
SETTINGS = """\
currency = "EUR"

[pools.local]
provider = "local"
slots = 1
ceiling = 2
price_per_hour = "0.05"
idle = "5s"
"""


def main() -> int:
    """0 when everything held, 1 when a claim did not, 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupted)
    story = Story(float(os.environ.get("DEMO_BEGAN") or 0))
    home = Path(tempfile.mkdtemp(prefix="farm-demo-"))
    user = User(home / "home")
    try:
        with Outside(find_scene(), home / "outside") as outside:
            _acts(story, user, outside)
    except (Broken, AssertionError, Refusal) as broken:
        story.broke(str(broken), user)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        user.leave()
        shutil.rmtree(home, ignore_errors=True)
    story.end(OUT)
    return 0


def _acts(story: Story, user: User, outside: Outside) -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    begin(story, user)
    film(story, user, outside, OUT)
    rebuild(story, user, OUT)
    bill(story, user, OUT)
    gone(story, user)


def begin(story: Story, user: User) -> None:
    story.act("A farm with nothing running", "farm up, in a home of its own, with prices and a limit of two executors")
    user.home.mkdir(parents=True)
    (user.home / "farm.toml").write_text(SETTINGS)
    story.types(user.line("up"))
    user.farm("up")
    story.claim("0 executors: nothing needs one", user.executors() == [])


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
