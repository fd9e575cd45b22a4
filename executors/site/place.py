"""Where an executor elsewhere keeps its things: two private folders, which go with it."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

from executors.invitation import Invitation
from executors.reach import Reach
from executors.site.fitness import Unfit
from executors.site.ground import forget
from executors.site.ticket import PRIVATE, Ticket

RUN, ROOMY = f"fx-{os.getuid()}-", f"farm-executor-{os.getuid()}-"


class Place:
    """A short folder for sockets and a roomy one for the work. The executor's process holds a lock while it lives."""

    def __init__(self, invitation: Invitation, folder: str | None) -> None:
        """Raises Unfit, OSError."""
        name = hashlib.sha256(f"{invitation.farm}\0{invitation.executor}".encode()).hexdigest()[:8]
        self.run = _short() / f"{RUN}{name}"
        self.folder = Path(folder).absolute() if folder else _roomy() / f"{ROOMY}{name}"
        self._own = [self.run] if folder else [self.run, self.folder]
        while not self._hold():
            pass
        os.set_inheritable(self._lock.fileno(), True)  # it is held beyond the exec, by that process alone

    def _hold(self) -> bool:
        """Make the folders and take the lock; False where somebody swept them away meanwhile. Raises Unfit."""
        for path in (self.run, self.folder):
            _private(path)
        file = self.run / "alive"
        self._lock = open(file, "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unfit(f"an executor of this name runs on this machine already, see {file}") from None
        return file.exists() and file.stat().st_ino == os.fstat(self._lock.fileno()).st_ino

    def furnish(self, invitation: Invitation, token: str, lease_s: float) -> Path:
        """Write what the executor and its gateway read; the ticket's file."""
        reach = Reach(invitation.url, str(self.run / "ca.pem") if invitation.ca else "", str(self.run / "token"))
        _write(self.run / "ca.pem", invitation.ca)
        _write(self.run / "token", token)
        reach.write(self.run / "reach.json")
        private = [str(self.run), *filter(None, os.environ.get(PRIVATE, "").split(os.pathsep))]
        store = {"cache": str(self.folder / "store"), "reach": str(self.run / "reach.json"), "private": private}
        (self.run / "store.json").write_text(json.dumps(store))
        file = self.folder / "ticket.json"
        Ticket(
            invitation.executor,
            invitation.farm,
            str(self.run),
            str(self.folder),
            str(self.run / "store.json"),
            invitation.slots,
            invitation.engine,
            lease_s,
            str(self.run / "reach.json"),
            tuple(map(str, self._own)),
        ).write(file)
        return file

    def program(self) -> Path:
        """Where Python finds this package: out of a zip it is unpacked, for keepers and Ray's workers are files."""
        import zipfile

        import executors

        root = Path(executors.__file__).parents[1]
        if root.is_dir():
            return root
        with zipfile.ZipFile(root) as archive:
            archive.extractall(self.run / "lib")
        return self.run / "lib"

    def remove(self) -> None:
        for path in self._own:
            shutil.rmtree(path, ignore_errors=True)


def sweep() -> None:
    """Remove what executors elsewhere that were killed have left on this machine, their control groups too. Where
    everybody may write, only what is ours counts."""
    for run in filter(_ours, _short().glob(f"{RUN}*")):
        with contextlib.suppress(OSError), open(os.open(run / "alive", os.O_RDWR | os.O_NOFOLLOW)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            roomy = _roomy() / (ROOMY + run.name.removeprefix(RUN))
            if _ours(roomy):
                forget(roomy)
                shutil.rmtree(roomy, ignore_errors=True)
            shutil.rmtree(run, ignore_errors=True)


def _ours(folder: Path) -> bool:
    """A folder of our own user, and no link to one."""
    try:
        told = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(told.st_mode) and told.st_uid == os.getuid()


def _short() -> Path:
    """Paths of Unix sockets end at 107 bytes."""
    base = tempfile.gettempdir()
    return Path(base if len(base) < 40 else "/tmp")


def _roomy() -> Path:
    """On a disk: /tmp may be memory."""
    return Path("/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir())


def _private(path: Path) -> None:
    """Ours alone. Raises Unfit where somebody else was there first."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    told = path.lstat()
    if path.is_symlink() or told.st_uid != os.getuid():
        raise Unfit(f"{path} belongs to somebody else; name another folder with --folder, or another TMPDIR")
    path.chmod(0o700)


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
