"""The story on machines of one kind elsewhere: from nothing to nothing, with the same pixels and wheels as at home."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from subprocess import CalledProcessError

from demo.bill import PHASES, bill
from demo.fleet import Fleet
from demo.ground import prepare
from demo.kinds import Kind
from demo.left import end, left
from demo.same import CHUNK, FRAMES, Work
from demo.story import Broken, Story, fresh
from demo.user import User, until
from executors.errors import ProviderError
from farm.refusal import Refusal, Unavailable
from farm.workloads.render import film as film_script
from farm.workloads.render.pictures import contact_sheet
from tests.machines.desks.desk import PRICE, Desk
from tests.machines.desks.kinds import desk
from tools.kubernetes.place import Trouble

Made = tuple[dict[str, str], dict[str, str]]  # frame → its pixels, wheel → its bytes: both as hashes
GOES_S = 10
PIXELS = "the pixels of all {} frames equal those that were made at home"
WHEELS = "all {} wheels equal those that were made at home, byte for byte"


def show(story: Story, kind: Kind, out: Path) -> int:
    """0 when everything held, else 1. Raises Unavailable when something is missing on this machine."""
    prepare(kind)
    fresh(out)
    folder = Path(tempfile.mkdtemp(prefix="farm-demo-"))
    user = User(folder / "home")
    try:
        _story(story, kind, user, out)
    except Unavailable:
        raise
    except (Broken, AssertionError, Refusal) as broken:
        story.broke(str(broken), user)
        return 1
    finally:
        end(folder)
        shutil.rmtree(folder, ignore_errors=True)
    story.end(out)
    return 0


def _story(story: Story, kind: Kind, user: User, out: Path) -> None:
    story.act(kind.title, kind.what)
    story.types(user.line("up"))
    with ExitStack() as ground:
        with story.during(kind.coming):
            farm = _ground(ground, kind, user.home.parent)
        user.patience_s = 3 * farm.patience_s
        _acts(story, kind, user, farm, out)
        with story.during(kind.going):
            ground.close()
    rest = left(user.home.parent, ())
    story.claim("nothing is left on this machine", not rest, rest)


def _ground(stack: ExitStack, kind: Kind, folder: Path) -> Desk:
    """Raises Unavailable."""
    try:
        return stack.enter_context(desk(kind.name, folder))
    except (OSError, Trouble, CalledProcessError, ProviderError) as error:
        raise Unavailable(str(error), f"--on {kind.name}") from error


def _acts(story: Story, kind: Kind, user: User, farm: Desk, out: Path) -> None:
    fleet = Fleet(story, user)
    story.types(user.line("pools"))
    story.text(user.farm("pools"))
    story.claim("0 executors: nothing needs one", user.executors() == [])
    story.claim(kind.none, not farm.left(), farm.left())
    there = _work(story, kind, user, farm, fleet)
    _keep(user, out)
    _claim_same(story, kind, user, there)
    _bill(story, kind, user, farm, fleet, out)
    story.types(user.line("down"))
    user.farm("down")
    story.claim("no process of the farm is left", until(lambda: not left(user.home, ()), GOES_S), left(user.home, ()))


def _work(story: Story, kind: Kind, user: User, farm: Desk, fleet: Fleet) -> Made:
    work = Work(story, user, user.home.parent, farm.pool)
    story.act("A film", f"{FRAMES} frames of balls that turn, {CHUNK} in each task")
    film = work.film(fleet)
    needs = "; ".join(f"{name} is built with {' and '.join(of)}" for name, of in kind.graph.items() if of)
    story.act("Packages", f"{len(kind.graph)} in a git repository: {needs}")
    return film, work.packages(fleet, kind.graph)


def _keep(user: User, out: Path) -> None:
    """film.mp4 where there is ffmpeg, and contact.png."""
    frames = user.home.parent / "film"
    if shutil.which("ffmpeg"):
        user.program(sys.executable, str(film_script.__file__), str(frames), "12", cwd=out)
    else:
        (out / "contact.png").write_bytes(contact_sheet(film_script.numbered(frames)))


def _claim_same(story: Story, kind: Kind, user: User, there: Made) -> None:
    story.act("The same at home", "another farm does the same work, with executors that are processes of this machine")
    folder = user.home.parent / "at-home"
    folder.mkdir()
    story.types(user.line("up"))
    with desk("local", folder) as farm:
        at_home = User(farm.home)
        here = _work_again(story, kind, at_home, folder, farm.pool)
    for text, elsewhere, local in zip((PIXELS, WHEELS), there, here, strict=True):
        differ = sorted(name for name in elsewhere.keys() | local.keys() if elsewhere.get(name) != local.get(name))
        story.claim(text.format(len(local)), local and not differ, differ)


def _work_again(story: Story, kind: Kind, user: User, folder: Path, pool: str) -> Made:
    work, fleet = Work(story, user, folder, pool, quiet=True), Fleet(story, user)
    return work.film(fleet), work.packages(fleet, kind.graph)


def _bill(story: Story, kind: Kind, user: User, farm: Desk, fleet: Fleet, out: Path) -> None:
    bill(story, user, out, str(PRICE), fleet)
    story.claim(kind.none, until(lambda: not farm.left(), farm.patience_s), farm.left())
    story.claim(f"executors: 0 → {fleet.most} → 0", fleet.most > 0)
    told = farm.lived_s()
    if told is not None:
        rows = user.json("report", "usage")["rows"]
        billed = sum(float(row[phase]) for row in rows for phase in PHASES)
        count = len(user.executors(every=True))
        close = abs(billed - told) <= 2 * count
        story.claim(
            f"who sells them says that they lived {told:.0f} s; billed are {billed:.0f} s", close, (told, billed)
        )
    story.types(user.line("database", "check"))
    story.text(user.farm("database", "check"))
    found = user.json("database", "check")["findings"]
    story.claim("the ledger is complete: every second of every executor is in the books once", found == [], found)
