"""Where the database is, and that its password is told to nobody."""

from pathlib import Path

import pytest

from farm import database_url
from farm.config import BadConfig, load
from farm.database_url import BadUrl
from farm.home import Home

OPEN = "postgresql://farm@db.example.org/farm"
SECRET = "postgresql://farm:hush_hush@db.example.org/farm"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv(database_url.VARIABLE, raising=False)
    return Home(tmp_path)


def found(home: Home) -> database_url.Address:
    return database_url.find(home, load(home.config_file))


def test_without_a_word_it_is_a_file_in_the_home(home: Home) -> None:
    assert found(home).path == home.database
    assert found(home).where == str(home.database)


def test_the_environment_wins_over_farm_toml(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.config_file.write_text('[database]\nurl = "postgresql://farm@elsewhere/farm"\n')
    assert found(home).where == "postgresql://farm@elsewhere/farm"
    monkeypatch.setenv(database_url.VARIABLE, OPEN)
    assert found(home).where == OPEN
    monkeypatch.setenv(database_url.VARIABLE, "")
    assert found(home).where == "postgresql://farm@elsewhere/farm"


def test_a_file_may_hold_the_password_and_nobody_is_told(home: Home) -> None:
    home.config_file.write_text('[database]\nurl_file = "url"\n')
    (home.path / "url").write_text(SECRET + "\n")
    assert found(home).url == SECRET
    assert "hush" not in found(home).where
    assert "hush" not in found(home).connect().where


def test_a_password_as_a_parameter_is_hidden_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(database_url.VARIABLE, f"{OPEN}?host=/run/pg&password=hush_hush&sslpassword=hush_2")
    assert found(home).where == f"{OPEN}?host=/run/pg"


@pytest.mark.parametrize("url", [SECRET, f"{OPEN}?password=hush_hush"])
def test_a_password_in_farm_toml_is_refused_with_the_remedy(home: Home, url: str) -> None:
    home.config_file.write_text(f'currency = "EUR"\n[database]\nurl = "{url}"\n')
    with pytest.raises(BadConfig) as refusal:
        found(home)
    said = str(refusal.value)
    assert "a password has no place here" in said
    assert "~/.pgpass" in said
    assert "line 3" in said
    assert "hush" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mysql://farm@db/farm", "SQLite and PostgreSQL, not 'mysql'"),
        ("somewhere hush_hush", "no URL of a database"),
        ("postgresql://farm:hush_hush@db", "names no database"),
        ("sqlite:///:memory:", "names no database"),
    ],
)
def test_what_is_no_database_is_told_without_repeating_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setenv(database_url.VARIABLE, text)
    with pytest.raises(BadUrl, match=words) as refusal:
        found(home)
    assert "hush" not in str(refusal.value)
    assert refusal.value.where == database_url.VARIABLE


def test_a_file_that_can_not_be_read_is_named(home: Home) -> None:
    home.config_file.write_text('[database]\nurl_file = "nowhere"\n')
    with pytest.raises(BadUrl, match=r"nowhere.*can't be read: No such file"):
        found(home)


def test_a_url_and_a_file_are_one_too_many(home: Home) -> None:
    home.config_file.write_text(f'[database]\nurl = "{OPEN}"\nurl_file = "url"\n')
    with pytest.raises(BadConfig, match="leave out one"):
        found(home)


def test_what_is_typed_holds_no_password(tmp_path: Path) -> None:
    with pytest.raises(BadUrl, match="others can read a password that is typed"):
        database_url.named(SECRET, "TO")
    assert database_url.named(str(tmp_path / "x.db"), "TO").path == tmp_path / "x.db"
    assert database_url.named(OPEN, "TO").where == OPEN
    assert database_url.named("sqlite:////srv/farm.db", "TO").path == Path("/srv/farm.db")
