"""Tokens: what is kept of them, how long they are good, and how soon they are not."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from farm import auth
from farm import tables as t
from farm.auth import GIVEN, Kind, Scope, create_machine_token, create_token, granted, read_scopes, revoke
from farm.clock import TurnedClock
from farm.db import Database, after_commit, migrate
from farm.porter import Porter
from farm.prune import prune
from farm.refusal import NotFound, Refusal
from farm.tokens import Tokens
from tests.fuzz.served_farm import ServedFarm


class Books:
    """A database with tokens, and those who ask for them."""

    def __init__(self, path):
        self.db, self.clock = Database.file(path / "farm.db"), TurnedClock()
        migrate(self.db, "farm.db")
        self.tokens = Tokens(self.db, self.clock)

    def make(self, kind=Kind.PERSON, **about):
        with self.db.write() as tx:
            return create_token(tx, kind, self.clock.now(), **about)

    def revoke(self, number):
        with self.db.write() as tx:
            revoke(tx, number, self.clock.now())
            after_commit(tx, lambda: self.tokens.forget([number]))

    def row(self, number):
        with self.db.read() as tx:
            return tx.execute(select(t.Token).where(t.Token.id == number)).one()


@pytest.fixture
def books(tmp_path):
    made = Books(tmp_path)
    yield made
    made.db.close()


def test_a_secret_is_known_again_and_is_nowhere_in_the_database(books, tmp_path):
    number, secret = books.make(owner="ada", scopes=[Scope.SUBMIT])
    who = books.tokens.principal(secret)
    assert who.owner == "ada"
    assert who.token == number
    books.db.close()
    assert not any(secret.split("_", 2)[2].encode() in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("change", [lambda s: s[:-1] + ("A" if s[-1] != "A" else "B"), lambda s: s + "A", str.upper])
def test_another_secret_is_nobodys(books, change):
    _, secret = books.make(owner="ada", scopes=[Scope.SUBMIT])
    assert books.tokens.principal(secret) is not None
    assert books.tokens.principal(change(secret)) is None


@pytest.mark.parametrize("nonsense", ["", "farm_", "farm_0123456789_", "x" * 10_000, "farm_0123456789_" + "é" * 43])
def test_nonsense_is_nobodys(books, nonsense):
    assert books.tokens.principal(nonsense) is None


def test_it_is_good_until_it_expires(books):
    _, secret = books.make(owner="ada", scopes=[Scope.READ], expires=books.clock.now() + timedelta(days=1))
    assert books.tokens.principal(secret) is not None
    books.clock.turn(86_399)
    assert books.tokens.principal(secret) is not None
    books.clock.turn(1)
    assert books.tokens.principal(secret) is None
    assert books.tokens.look(secret).bad(books.clock.now()) == "expired"


def test_it_is_good_for_nothing_from_the_moment_it_is_revoked(books):
    number, secret = books.make(owner="ada", scopes=[Scope.READ])
    assert books.tokens.principal(secret) is not None
    books.revoke(number)
    assert books.tokens.principal(secret) is None
    with pytest.raises(NotFound, match=number):
        books.revoke(number)


def test_one_that_is_revoked_while_it_is_looked_up_is_not_remembered(books, monkeypatch):
    number, secret = books.make(owner="ada", scopes=[Scope.READ])
    found = auth.find

    def slow(tx, asked):
        before = found(tx, asked)
        books.revoke(number)
        return before

    monkeypatch.setattr(auth, "find", slow)
    books.tokens.look(secret)
    assert books.tokens.remembered(secret) is None


def test_what_another_process_revokes_is_noticed_soon(books):
    number, secret = books.make(owner="ada", scopes=[Scope.READ])
    assert books.tokens.principal(secret) is not None
    with books.db.write() as tx:
        revoke(tx, number, books.clock.now())
    books.clock.turn(31)
    assert books.tokens.principal(secret) is None


def test_a_known_token_asks_no_database(books):
    _, secret = books.make(owner="ada", scopes=[Scope.READ])
    books.tokens.principal(secret)
    with books.db.write():  # a lookup would find another connection, but none is needed
        before = books.db.engine.pool.checkedout()
        assert books.tokens.remembered(secret) is not None
        assert books.db.engine.pool.checkedout() == before


def test_its_last_use_is_written_at_most_once_a_minute(books):
    number, secret = books.make(owner="ada", scopes=[Scope.READ])
    assert books.row(number).used is None
    books.tokens.principal(secret)
    books.tokens.write_used()
    first = books.row(number).used
    assert first == books.clock.now()
    books.clock.turn(20)
    books.tokens.principal(secret)
    books.tokens.write_used()
    assert books.row(number).used == first
    later = books.clock.turn(60)
    books.tokens.principal(secret)
    books.tokens.write_used()
    assert books.row(number).used == later


def test_a_machine_may_sync_and_use_the_store_and_nothing_else(books):
    with books.db.write() as tx:
        secret = create_machine_token(tx, "o1-1", "cloud", books.clock.now())
    who = books.tokens.principal(secret)
    assert (who.executor, who.pool) == ("o1-1", "cloud")
    assert who.scopes == {Scope.PUBLIC, Scope.SYNC, Scope.FETCH, Scope.STORE}
    with books.db.write() as tx:
        gone = auth.revoke_machine(tx, "o1-1", books.clock.now())
    books.tokens.forget(gone)
    assert books.tokens.principal(secret) is None


def test_what_a_scope_includes():
    assert all(Scope.READ in granted([scope]) for scope in GIVEN)
    assert Scope.OWN not in granted([Scope.SUBMIT])
    assert Scope.SUBMIT not in granted([Scope.OPERATE])
    assert Scope.OWN in granted([Scope.OPERATE])
    assert granted([Scope.ADMIN]) >= set(GIVEN)
    assert not {Scope.SYNC, Scope.JOIN, Scope.STANDBY} & granted(GIVEN)


def test_scopes_as_typed():
    assert read_scopes("own, submit") == (Scope.SUBMIT, Scope.OWN)
    with pytest.raises(Refusal, match="'submitt'") as refused:
        read_scopes("submitt")
    assert "submit" in refused.value.remedy
    with pytest.raises(Refusal, match="'sync'"):
        read_scopes("sync")


def test_a_secret_in_a_text_is_blotted(books):
    number, secret = books.make(owner="ada", scopes=[Scope.READ])
    assert auth.blotted(f"/v1/{secret}?") == f"/v1/farm_{number}_…?"


def test_tokens_of_machines_that_are_gone_end_after_a_while_and_are_pruned(tmp_path):
    with ServedFarm(tmp_path) as served:
        farm, now = served.farm, served.farm.clock.now()
        secrets = {}
        with farm.db.write() as tx:
            for name, ended in (("lives", None), ("lately", now), ("gone", now - timedelta(days=200))):
                executor = {"id": name, "order": "o", "pool": "p", "site": name, "state": "gone" if ended else "ready"}
                about = {"slots": 1, "price_nano": 0, "why": "", "job": None, "ordered": now, "launched": now}
                tx.execute(insert(t.Executor), {**executor, **about, "ended": ended, "billed_until": now})
                secrets[name] = create_machine_token(tx, name, "p", now)
        assert all(farm.tokens.principal(secret) for secret in secrets.values())
        Porter(farm).turn()
        assert [name for name, secret in secrets.items() if farm.tokens.principal(secret)] == ["lives", "lately"]
        assert prune(farm).tokens == 0
        with farm.db.write() as tx:
            tx.execute(update(t.Token).values(revoked=now - timedelta(days=100)).where(t.Token.executor == "gone"))
        assert prune(farm).tokens == 1
        with farm.db.read() as tx:
            assert sorted(row.executor for row in auth.tokens(tx)) == ["lately", "lives"]
