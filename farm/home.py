"""The one folder that holds all state of a farm, and the short private folder for its sockets."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from farm.refusal import Unavailable

SITE = "local"  # the site beside the farm, the only one yet


class BadHome(Unavailable):
    """The home cannot be used."""


class Taken(BadHome):
    """Another service runs in this home."""


@dataclass(frozen=True)
class Home:
    """`path` is the home; nothing outside it and `run` is ever written."""

    path: Path

    @classmethod
    def find(cls, given: str | None = None) -> "Home":
        """`--home`, else FARM_HOME, else $XDG_STATE_HOME/farm, else ~/.local/state/farm. Raises BadHome."""
        if given is not None and (not given or "\0" in given):
            raise BadHome(f"{given!r} is no folder", "--home", "name one, or leave --home out")
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        chosen = given or os.environ.get("FARM_HOME") or os.path.join(state, "farm")
        try:
            return cls(Path(chosen).expanduser().absolute())
        except RuntimeError as error:  # ~somebody
            raise BadHome("there is no such user", chosen, "write the whole path with --home or FARM_HOME") from error

    def make(self) -> "Home":
        """Create what is missing. Raises BadHome when it can't be written."""
        import secrets

        with self._explained():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_writable(self.path)
            for folder in (self.store, self.logs, self.pools):
                folder.mkdir(exist_ok=True, mode=0o700)
            _write_private(self.token_file, secrets.token_urlsafe(32))
            _write_private(self._identity, secrets.token_hex(4))
            _write_private(self._join_key, secrets.token_hex(32))
        return self

    def make_run(self) -> None:
        """Create the folder for sockets. Raises BadHome when somebody else was there first."""
        with self._explained():
            _private_folder(self.run)

    def make_doors(self) -> None:
        """Create the folder for sockets of those who serve beside. Raises BadHome."""
        with self._explained():
            _private_folder(self.doors)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"the home can't be used: {error.strerror or error}"
            raise BadHome(what, str(self.path), "choose another with --home or FARM_HOME") from error

    @property
    def config_file(self) -> Path:
        return self.path / "farm.toml"

    @property
    def database(self) -> Path:
        return self.path / "farm.db"

    @property
    def store(self) -> Path:
        """Content-addressed files."""
        return self.path / "store"

    @property
    def logs(self) -> Path:
        """Mirrors of the executors' spools: logs/EXECUTOR/SPOOL."""
        return self.path / "logs"

    @property
    def pools(self) -> Path:
        """What providers keep: pools/NAME."""
        return self.path / "pools"

    @property
    def index(self) -> Path:
        """Published packages (PEP 503)."""
        return self.path / "index" / "simple"

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def _identity(self) -> Path:
        return self.path / "farm-id"

    def identity(self) -> str:
        """The name under which this farm tags what it starts."""
        return self._identity.read_text().strip()

    @property
    def _join_key(self) -> Path:
        return self.path / "join-key"

    def join_key(self) -> bytes:
        """What the secrets of invitations are made with."""
        return self._join_key.read_bytes().strip()

    @property
    def tls(self) -> Path:
        """The farm's own certificate authority."""
        return self.path / "tls"

    @property
    def listening(self) -> Path:
        """Where others reach the running farm, as JSON; there only while they do."""
        return self.path / "listening.json"

    @property
    def last_port(self) -> Path:
        """Where it listened last, for a farm that takes any port."""
        return self.path / "last-port"

    @property
    def gateway_log(self) -> Path:
        return self.path / "gateway.log"

    @property
    def service_log(self) -> Path:
        return self.path / "service.log"

    @cached_property
    def run(self) -> Path:
        """Short, because Unix socket paths end at 107 bytes; derived from user and home, so that all find it."""
        base = _temporary()
        name = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:10]
        return Path(base if len(base) < 40 else "/tmp") / f"farm-{os.getuid()}-{name}"

    @property
    def socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def doors(self) -> Path:
        """Sockets of those who serve the API beside the service; not in `run`, which the service may remove."""
        return self.run.with_name(f"{self.run.name}-api")

    @property
    def lock(self) -> Path:
        """Held by the one service of this home. Not in `run`, which its holder may remove."""
        return self.path / "service.lock"

    def token(self) -> str:
        """The token of the farm's own user. Raises BadHome when it is missing."""
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            what = f"the token can't be read: {error.strerror}"
            raise BadHome(what, str(self.token_file), "start the farm with `farm up`") from error


def _check_writable(path: Path) -> None:
    """Raises OSError. Also for root, whom a read-only disk stops but no permission does."""
    if not os.access(path, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number))


def _temporary() -> str:
    """As tempfile.gettempdir(), whose import and trial writing only a strange machine needs."""
    given = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), "/tmp")
    if os.path.isdir(given) and os.access(given, os.W_OK | os.X_OK):
        return os.path.abspath(given)
    import tempfile

    return tempfile.gettempdir()


def _private_folder(path: Path) -> None:
    """Make `path` ours alone; refuse one that somebody else could have prepared."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(1, f"{path} belongs to somebody else")
    path.chmod(0o700)


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all; one that is there stays."""
    if path.exists():
        return
    coming = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)  # an empty one after a power cut would be worse than none
    try:
        os.link(coming, path)
    except FileExistsError:
        pass
    coming.unlink()
