"""What makes a push reach the farm: the hook in a repository, and the spool it writes to."""

import json
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from farm.changes import Repository, is_nothing, is_object_id
from farm.home import Home
from farm.login import Login, write_login
from farm.refusal import Refusal

MARK = "# post-receive of the farm"
SPOOL, LOGIN, ASK = "spool", "login.json", "ask-backends"  # in the folder for a farm elsewhere
BEFORE = "post-receive.before-farm"
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[/.]$")  # git-check-ref-format(1)
_LARGEST = 64 * 1024
_TEMPLATE = Path(__file__).with_name("post-receive.sh")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GitEvent:
    """A ref of a repository moved. `spooled` is the file that said so, if one did."""

    repository: Path
    ref: str
    old: str
    new: str
    spooled: Path | None = None

    def commit(self, name: str) -> str:
        """The commit of that name; "" when there is none (any more)."""
        try:
            return Repository(self.repository).commit(name) if name else ""
        except Refusal:
            return ""


@dataclass(frozen=True, slots=True)
class SentEvent:
    """The same, told from another machine: `tip` is where the ref is by now, and `new` is a commit (or nothing)."""

    repository: str
    ref: str
    old: str
    new: str
    tip: str

    def commit(self, name: str) -> str:
        return self.tip if name == self.ref else "" if is_nothing(name) else name


def checked(told: Mapping[str, object]) -> GitEvent:
    """An event from outside. Raises Refusal for an unknown key, a bad id or ref, and for what is no repository."""
    values = {key: told.get(key) for key in ("repository", "ref", "old", "new")}
    if set(told) != set(values) or not all(isinstance(value, str) for value in values.values()):
        raise Refusal("an event has the texts repository, ref, old and new, and nothing else", "git event")
    repository, ref, old, new = (str(value) for value in values.values())
    check_moved(ref, old, new)
    return GitEvent(_repository(repository), ref, old, new)


def check_moved(ref: str, *object_ids: str) -> None:
    """Raises Refusal for a bad ref or id."""
    for object_id in object_ids:
        if not is_object_id(object_id):
            raise Refusal(f"{object_id[:80]!r} is no object id", "git event", "give 40 hex digits")
    if not ref.startswith("refs/") or _BAD_REF.search(ref):
        raise Refusal(f"{ref[:80]!r} is no ref", "git event", "give a full name such as refs/heads/main")


def _repository(text: str, where: str = "git event", remedy: str = "give its full path on this machine") -> Path:
    path = Path(text)
    if "\0" in text or not path.is_absolute() or not os.path.isdir(path) or not Repository(path).is_one():
        raise Refusal(f"{text[:200]!r} is no git repository", where, remedy)
    return path


# ── The spool ────────────────────────────────────────────────────────────────────────────────────


def spool(home: Home) -> Path:
    """Where hooks leave their events: one file of JSON per moved ref."""
    return home.path / "spool" / "git"


def read_spool(home: Home) -> list[GitEvent]:
    """As `read_folder` of the home's."""
    return read_folder(spool(home))


def read_folder(folder: Path) -> list[GitEvent]:
    """Events in the order they came. Files that say nothing usable are put aside in `bad`, with a warning."""
    events = []
    for path in sorted(folder.glob("*.json")):
        try:
            events.append(_read(path))
        except FileNotFoundError:
            continue  # its hook has told the farm itself
        except (Refusal, ValueError, OSError, RecursionError) as error:
            _log.warning("%s is put aside: %s", path, error)
            put_aside(path)
    return events


def done(event: GitEvent) -> None:
    """The farm has what it needs of this event on its own disk: forget the file. Repeating it is fine."""
    if event.spooled:
        event.spooled.unlink(missing_ok=True)


def _read(path: Path) -> GitEvent:
    with path.open("rb") as file:
        told = json.loads(file.read(_LARGEST))
    if not isinstance(told, dict):
        raise ValueError("it holds no object")
    event = checked(told)
    return GitEvent(event.repository, event.ref, event.old, event.new, path)


def put_aside(path: Path) -> None:
    """What can't be used is kept for people to look at."""
    aside = path.parent / "bad"
    aside.mkdir(exist_ok=True)
    try:
        path.replace(aside / path.name)
    except FileNotFoundError:
        pass


# ── The hook ─────────────────────────────────────────────────────────────────────────────────────


def install(repository: Path, home: Home, program: str = "") -> Path:
    """Write the post-receive hook of `repository`, bare or not; repeating it is fine.

    A hook that is there already stays and is run after ours. `program` is the `farm` to call (default: this one).
    Raises Refusal when `repository` is none, or has its hooks elsewhere.
    """
    spool(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    return _install(repository, _script(spool(home), program, home=home))


def install_far(repository: Path, login: Login, program: str = "", ask: bool = False) -> Path:
    """The same for a farm elsewhere: address and token are kept beside the spool, in the repository's own folder.

    With `ask` code of what is pushed is run here: its build backends say what they need.
    """
    folder = far_folder(repository)
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / SPOOL).mkdir(exist_ok=True, mode=0o700)
    write_login(login, folder / LOGIN)
    if ask:
        (folder / ASK).touch()
    else:
        (folder / ASK).unlink(missing_ok=True)
    return _install(repository, _script(folder / SPOOL, program, far=folder))


def far_folder(repository: Path) -> Path:
    """Where the hook of a repository keeps what it needs for a farm elsewhere. Raises Refusal when it is none."""
    return _hooks_folder(repository).parent / "farm"


def _install(repository: Path, script: str) -> Path:
    folder = _hooks_folder(repository)
    hook = folder / "post-receive"
    try:
        folder.mkdir(exist_ok=True)
        if os.path.lexists(hook) and not _is_ours(hook):
            _step_aside(hook)
        _write(hook, script)
    except OSError as error:
        raise Refusal(
            f"the hook can't be written: {error.strerror}", str(hook), "ask who owns the repository"
        ) from error
    return hook


def is_installed(repository: Path, home: Home, program: str = "") -> bool:
    """Whether `install` would change nothing. Raises Refusal like it."""
    hook = _hooks_folder(repository) / "post-receive"
    return hook.is_file() and hook.read_bytes() == _script(spool(home), program, home=home).encode()


def this_program() -> str:
    """The `farm` beside this Python, else the one on the path."""
    beside = Path(sys.executable).with_name("farm")
    return str(beside) if beside.exists() else shutil.which("farm") or "farm"


def _hooks_folder(given: Path) -> Path:
    remedy = "name one of this machine, or make it: git init --bare FOLDER"
    repository = _repository(str(given.expanduser().absolute()), "REPOSITORY", remedy)
    own, folder = Repository(repository).hooks()
    if not folder.is_relative_to(own):
        raise Refusal(
            f"the hooks are in {folder}, which other repositories may share",
            str(repository),
            f"git -C {shlex.quote(str(repository))} config core.hooksPath hooks, or call `farm event` from there",
        )
    return folder


def _is_ours(hook: Path) -> bool:
    return not hook.is_symlink() and MARK in hook.read_text(errors="replace")


def _step_aside(hook: Path) -> None:
    before = hook.with_name(BEFORE)
    if os.path.lexists(before):
        raise Refusal(f"{before} is there already, and {hook} is not the farm's", remedy="remove one of them")
    hook.rename(before)


def _script(spooled: Path, program: str, *, home: Home | None = None, far: Path | None = None) -> str:
    text = _TEMPLATE.read_text()
    values = {"@SPOOL@": spooled, "@PROGRAM@": program or this_program(), "@FAR@": far or ""}
    values["@HOME@"] = home.path if home else ""
    for name, value in values.items():
        text = text.replace(name, shlex.quote(str(value)))
    return text


def _write(hook: Path, script: str) -> None:
    coming = hook.with_name(".post-receive.coming")
    coming.write_text(script)
    coming.chmod(0o755)
    coming.replace(hook)
