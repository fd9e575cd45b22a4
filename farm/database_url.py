"""Where the database is: FARM_DATABASE_URL, else [database] of farm.toml, else farm.db in the home."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from farm.refusal import Unavailable

if TYPE_CHECKING:
    from farm.config import FarmConfig
    from farm.db import Database
    from farm.home import Home

VARIABLE = "FARM_DATABASE_URL"
_FORM = "write it like postgresql://farm@host/farm, with ?host=/folder for a Unix socket"
_SECRET = "a password has no place here; put it into ~/.pgpass, or the whole URL into a file that url_file names"


class BadUrl(Unavailable):
    """What was said of the database is no URL of one, or its file can't be read."""


class DatabaseConfig(BaseModel):
    """[database] of farm.toml; without it SQLite in the home."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None  # without a password
    url_file: str | None = None  # the path of a file that holds the URL and nothing else, below the home or absolute

    @field_validator("url")
    @classmethod
    def _fits(cls, value: str | None) -> str | None:
        if value is not None and (wrong := flaw(value) or _open(value)):
            raise ValueError(wrong)
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.url is not None and self.url_file is not None:
            raise ValueError("there are a url and a url_file; leave out one of them")
        return self


@dataclass(frozen=True, slots=True)
class Address:
    """A database. `url` may hold a password: never show it, show `where`."""

    url: str
    where: str
    path: Path | None = None  # of an SQLite file

    def connect(self) -> "Database":
        from farm.db import Database

        return Database.file(self.path) if self.path else Database.url(self.url)


def only_in_home() -> None:
    """This process, and those that it starts, are to have farms of their own: one of people is left alone."""
    os.environ.pop(VARIABLE, None)


def find(home: "Home", config: "FarmConfig") -> Address:
    """The database of this home. Raises BadUrl."""
    said, source = _said(home, config.database)
    return address(said, source) if said is not None else file(home.database)


def _said(home: "Home", config: DatabaseConfig) -> tuple[str | None, str]:
    """The URL, and who says so."""
    if given := os.environ.get(VARIABLE, "").strip():
        return given, VARIABLE
    if config.url_file is not None:
        place = home.path / os.path.expanduser(config.url_file)
        try:
            return place.read_text().strip(), str(place)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            remedy = "name a readable one as url_file below [database]"
            raise BadUrl(f"the file with the database's URL can't be read: {why}", str(place), remedy) from error
    return config.url, str(home.config_file)


def address(url: str, source: str) -> Address:
    """Of a URL; `source` is told when it is none. Raises BadUrl."""
    from sqlalchemy.engine import make_url

    from farm.postgres import shown

    if wrong := flaw(url):
        what, _, remedy = wrong.partition("; ")
        raise BadUrl(what, source, remedy)
    made = make_url(url)
    if made.get_backend_name() == "sqlite":
        return file(Path(str(made.database)).absolute())
    return Address(url, shown(made))


def file(path: Path) -> Address:
    return Address(f"sqlite:///{path}", str(path), path)


def named(text: str, source: str) -> Address:
    """A URL without a password, or the path of an SQLite file. Raises BadUrl."""
    if "://" not in text:
        return file(Path(text).expanduser().absolute())
    if _open(text):
        remedy = "leave it out of the URL and put it into ~/.pgpass"
        raise BadUrl("others can read a password that is typed", source, remedy)
    return address(text, source)


def flaw(url: str) -> str:
    """What is wrong with a URL, as `what; remedy`; empty when nothing is. It is not repeated: it may hold a secret."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        return f"this is no URL of a database; {_FORM}"
    backend = made.drivername.partition("+")[0]
    if backend not in ("postgresql", "postgres", "sqlite"):
        return f"the farm knows SQLite and PostgreSQL, not {backend[:20]!r}; {_FORM}"
    if not made.database or made.database == ":memory:":
        return f"the URL names no database; {_FORM}"
    return ""


def _open(url: str) -> str:
    """Whether a password stands in it, and what to do about that."""
    from sqlalchemy.engine import make_url

    made = make_url(url)
    hides = made.password is not None or any("password" in key for key in made.query)
    return _SECRET if hides else ""
