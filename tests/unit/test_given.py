"""The administrator's token that an installation brings along."""

from datetime import timedelta
from pathlib import Path

import pytest

from farm import auth
from farm.clock import SystemClock
from farm.context import open_farm
from farm.given import FILE, take_given
from farm.home import Home
from farm.prune import prune
from farm.refusal import Refusal

SECRET = "farm_0123456789_" + "a" * 43


@pytest.fixture
def farm(tmp_path: Path):
    opened = open_farm(Home(tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv(FILE, str(file))
    return file


def kept(farm):
    with farm.db.read() as tx:
        return auth.find(tx, "0123456789")


def test_it_may_all_that_an_administrator_may(farm, given: Path):
    take_given(farm.db, farm.clock)
    known = kept(farm)
    assert auth.matches(SECRET, known)
    assert known.principal.may(auth.Scope.ADMIN)
    assert (known.principal.owner, known.bad(farm.clock.now())) == ("admin", "")


def test_it_is_taken_once_and_stays_revoked(farm, given: Path):
    take_given(farm.db, farm.clock)
    with farm.db.write() as tx:
        auth.revoke(tx, "0123456789", farm.clock.now())
    take_given(farm.db, farm.clock)
    assert kept(farm).bad(farm.clock.now() + timedelta(days=1)) == "revoked"


def test_it_stays_revoked_when_what_is_old_is_pruned(farm, given: Path):
    take_given(farm.db, farm.clock)
    with farm.db.write() as tx:
        auth.revoke(tx, "0123456789", farm.clock.now() - timedelta(days=1000))
    assert (prune(farm, dry=True).tokens, prune(farm).tokens) == (0, 0)
    take_given(farm.db, farm.clock)
    assert kept(farm).bad(farm.clock.now()) == "revoked"


def test_none_is_given_where_none_is_named(farm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(FILE, raising=False)
    take_given(farm.db, SystemClock())
    assert kept(farm) is None


@pytest.mark.parametrize("text", ["", "secret", "farm_0123456789_" + "a" * 42])
def test_another_form_is_refused_and_not_repeated(farm, given: Path, text: str):
    given.write_text(text)
    with pytest.raises(Refusal, match="no token of a farm") as refused:
        take_given(farm.db, farm.clock)
    assert not text or text not in str(refused.value).replace(str(given), "")


def test_a_file_that_is_not_there_is_told(farm, given: Path):
    given.unlink()
    with pytest.raises(Refusal, match="can't be read: No such file"):
        take_given(farm.db, farm.clock)
