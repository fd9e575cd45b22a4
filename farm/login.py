"""Which farm this user speaks to by default: the login file, or FARM_URL, FARM_TOKEN and FARM_CA."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from farm.address import Address, parse_address
from farm.refusal import Refusal, Unavailable

LARGEST = 1 << 20  # bytes of a login file
_AGAIN = "type `farm login URL` again"


@dataclass(frozen=True, slots=True)
class Login:
    """A farm elsewhere, and who we are there. `ca`: the certificates (PEM) that are trusted, "" as the machine does.
    `file` is where all of that is kept, if it is."""

    address: Address
    token: str = field(repr=False)
    ca: str = field(default="", repr=False)
    file: Path | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return str(self.address)


def login_file() -> Path:
    """$XDG_CONFIG_HOME/farm/login.json."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "farm", "login.json")


def find_login() -> Login | None:
    """By FARM_URL, else by the login file; None when there is neither. Raises Refusal."""
    if not (url := os.environ.get("FARM_URL")):
        return read_login(login_file())
    address = parse_address(url, "FARM_URL")
    token, ca = os.environ.get("FARM_TOKEN"), os.environ.get("FARM_CA")
    known = None if token and ca else _known(address)
    if not token and known is None:
        raise Unavailable("there is no token for that farm", f"FARM_URL={address}", f"set FARM_TOKEN, or {_login(url)}")
    given = read_ca(ca, "FARM_CA") if ca else known.ca if known else ""
    return Login(address, checked_token(token, "FARM_TOKEN") if token else known.token if known else "", given)


def _login(url: str) -> str:
    return f"type `farm login {url}`"


def _known(address: Address) -> Login | None:
    """What the login file knows of this very farm."""
    found = read_login(login_file())
    return found if found is not None and found.address == address else None


def checked_token(text: str, where: str) -> str:
    """Raises Refusal, and does not repeat it."""
    token = text.strip()
    if not token or len(token) > 4096 or not token.isascii() or not token.isprintable() or " " in token:
        what = "the token is empty" if not token else "that is no token of a farm: it has letters that none has"
        raise Refusal(what, where, "give one as `farm token create` printed it")
    return token


def read_token(path: str) -> str:
    """The token in a file. Raises Refusal."""
    try:
        with open(path) as file:
            return checked_token(file.read(8192), path[:200])
    except (OSError, ValueError) as error:
        what = f"the token can't be read: {getattr(error, 'strerror', None) or 'it is not text'}"
        raise Refusal(what, f"--token-file {path[:200]}", "check the path") from error


def read_ca(path: str, where: str) -> str:
    """The certificates in a file, as PEM. Raises Refusal."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read(LARGEST)
    except (OSError, ValueError) as error:
        what = f"the CA's certificate can't be read: {getattr(error, 'strerror', None) or 'it is not text'}"
        raise Refusal(what, f"{where} {path[:200]}", "check the path") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Refusal("that is no certificate in PEM", f"{where} {path}", "give the file that `farm ca show` writes")
    return text


def read_login(path: Path) -> Login | None:
    """Raises Refusal for a file that others can read, or that is damaged."""
    try:
        with path.open("rb") as file:
            _check_private(file.fileno(), path)
            told = json.loads(file.read(LARGEST))
        texts = {name: str(told.get(name) or "") for name in ("url", "token", "ca")}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"the login can't be read: {error.strerror}", str(path), _AGAIN) from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise Unavailable("the login file is damaged", str(path), _AGAIN) from error
    return Login(parse_address(texts["url"], str(path)), checked_token(texts["token"], str(path)), texts["ca"], path)


def _check_private(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid not in (os.getuid(), 0):
        raise Unavailable("the login file belongs to somebody else", str(path), _AGAIN)
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        what = "others can read the login file, and the token in it"
        raise Unavailable(what, str(path), f"type `chmod 600 {path}`; if others did, make a new token")


def write_login(login: Login, path: Path) -> None:
    """Whole or not at all, for this user alone. Raises Unavailable."""
    text = json.dumps({"url": str(login.address), "token": login.token, "ca": login.ca}, indent=1)
    coming = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        coming.unlink(missing_ok=True)
        descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        coming.replace(path)
    except OSError as error:
        raise Unavailable(f"the login can't be written: {error.strerror}", str(path), "set XDG_CONFIG_HOME") from error


def forget_login(path: Path) -> bool:
    """Whether there was one. Raises Unavailable."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable(f"the login can't be removed: {error.strerror}", str(path), "remove it by hand") from error
    return True
