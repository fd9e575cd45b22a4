"""The story, act by act."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from demo.bill import bill, gone
from demo.biscuit import find_scene
from demo.elsewhere import show
from demo.film import film
from demo.ground import install
from demo.kinds import KINDS
from demo.outside import Outside
from demo.rebuild import rebuild
from demo.story import Broken, Story, fresh
from demo.user import User
from farm.database_url import only_in_home
from farm.refusal import Refusal, Unavailable

OUT = Path(__file__).parents[1] / "demo-out"
HERE = "local"
SETTINGS = """\
currency = "EUR"

[pools.local]
provider = "local"
slots = 1
ceiling = 2
price_per_hour = "0.05"
idle = "5s"
"""


def main(words: Sequence[str]) -> int:
    """0 when everything held, 1 when a claim did not, 3 when something is missing here, 130 on Ctrl-C."""
    told = _parse(words)
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)
    only_in_home()
    story = Story(float(os.environ.get("DEMO_BEGAN") or 0), told.json)
    try:
        if told.on == HERE:
            return _here(story, Path(told.out or OUT))
        return show(story, KINDS[told.on], Path(told.out or OUT / told.on))
    except Unavailable as missing:
        sys.stderr.write(f"farm: {missing}\n")
        return 3
    except KeyboardInterrupt:
        return 130


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="farm demo")
    parser.add_argument("--on", choices=(HERE, *KINDS), default=HERE)
    parser.add_argument("--out", help="a folder for what is made")
    parser.add_argument("--json", action="store_true", help="one JSON value at the end; the story goes to stderr")
    return parser.parse_args(words)


def _here(story: Story, out: Path) -> int:
    install(("render", "scene"))
    home = Path(tempfile.mkdtemp(prefix="farm-demo-"))
    user = User(home / "home")
    try:
        with Outside(find_scene(), home / "outside") as outside:
            _acts(story, user, outside, out)
    except (Broken, AssertionError, Refusal) as broken:
        story.broke(str(broken), user)
        return 1
    finally:
        user.leave()
        shutil.rmtree(home, ignore_errors=True)
    story.end(out)
    return 0


def _acts(story: Story, user: User, outside: Outside, out: Path) -> None:
    fresh(out)
    begin(story, user)
    film(story, user, outside, out)
    rebuild(story, user, out)
    bill(story, user, out)
    gone(story, user)


def begin(story: Story, user: User) -> None:
    story.act("A farm with nothing running", "farm up, in a home of its own, with prices and a limit of two executors")
    user.home.mkdir(parents=True)
    (user.home / "farm.toml").write_text(SETTINGS)
    story.types(user.line("up"))
    user.farm("up")
    story.claim("0 executors: nothing needs one", user.executors() == [])


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Once: whatever else is pressed, what was started is ended."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.stderr.write("\nending all that was started; this may take some seconds\n")
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
