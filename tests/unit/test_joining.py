"""A ticket is good for one executor of one pool, once, while it is wanted; who is refused is told why."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from executors import metered, registry
from executors.contract import Surroundings
from executors.invitation import PROTOCOL
from executors.site.protocol import PROTOCOL as SYNC
from farm import tables as t
from farm.clock import TurnedClock
from farm.config import BadConfig
from farm.context import Farm, open_farm, providers
from farm.home import Home
from farm.joining import KEPT, Asked, NotWelcome, exchange, failed, last_failures, secret_of
from farm.model import ExecutorState, OrderState
from farm.refusals import BURST

POOLS = '[pools.far]\nprovider = "local"\n[pools.other]\nprovider = "local"\n'


@pytest.fixture
def farm(tmp_path: Path):
    home = Home(tmp_path / "home").make()
    home.config_file.write_text(POOLS)
    farm = open_farm(home, TurnedClock())
    order(farm, "abcd", OrderState.OPEN)
    yield farm
    farm.close()


def order(farm: Farm, token: str, state: OrderState, pool: str = "far") -> None:
    now = farm.clock.now()
    row = {"token": token, "pool": pool, "machines": 1, "slots": 1, "state": state, "why": "", "job": None}
    with farm.db.write() as tx:
        tx.execute(insert(t.Order), {**row, "created": now, "not_before": now})


def executor(farm: Farm, name: str, state: ExecutorState, why: str = "idle") -> None:
    now = farm.clock.now()
    row = {"id": name, "order": name[:-2], "pool": "far", "site": name, "state": state, "slots": 1, "price_nano": 0}
    times = {"ordered": now, "launched": now, "billed_until": now}
    with farm.db.write() as tx:
        tx.execute(insert(t.Executor), {**row, **times, "why": why, "job": None})


def asked(at: Farm, name: str = "abcd-1", pool: str = "far", **more: object) -> Asked:
    secret = secret_of(at.home.join_key(), at.id, pool, name)
    return replace(Asked(at.id, pool, name, secret, nonce="mine", host="h1"), **more)


def refused(farm: Farm, said: Asked) -> str:
    with pytest.raises(NotWelcome) as caught:
        exchange(farm, said)
    with farm.db.read() as tx:
        kept = [f["what"] for f in last_failures(tx, said.pool)]
    assert kept[:1] == [caught.value.what]
    assert caught.value.remedy
    return caught.value.what


def test_a_token_of_its_own(farm: Farm):
    who = farm.tokens.principal(exchange(farm, asked(farm)))
    assert (who.kind, who.executor, who.pool) == ("machine", "abcd-1", "far")
    assert {str(scope) for scope in who.scopes} == {"public", "sync", "fetch", "store"}


def test_the_secret_is_the_same_for_the_same_and_another_for_others(farm: Farm):
    key = farm.home.join_key()
    made = {secret_of(key, f, p, x) for f in ("f", "g") for p in ("p", "q") for x in ("x-1", "x-2")}
    assert len(made) == 8
    assert secret_of(key, "f", "p", "x-1") in made
    assert farm.home.path.joinpath("join-key").stat().st_mode & 0o777 == 0o600


def test_used_twice(farm: Farm):
    exchange(farm, asked(farm))
    assert "used before, by h1" in refused(farm, asked(farm, nonce="another"))
    assert "used before" in refused(farm, asked(farm, nonce=""))


def test_who_lost_the_answer_asks_again(farm: Farm):
    first = exchange(farm, asked(farm))
    assert exchange(farm, asked(farm)) != first


def test_stolen_for_another_executor_or_pool(farm: Farm):
    order(farm, "beef", OrderState.OPEN)
    assert "not that of executor 'beef-1'" in refused(farm, asked(farm, executor="beef-1"))
    assert "in pool 'other'" in refused(farm, replace(asked(farm), pool="other"))


def test_of_another_farm(farm: Farm):
    assert "of the farm 'ffff'" in refused(farm, asked(farm, farm="ffff"))


@pytest.mark.parametrize(("protocol", "word"), [(PROTOCOL - 2, "too old"), (PROTOCOL + 2, "too new")])
def test_a_protocol_that_nobody_speaks(farm: Farm, protocol: int, word: str):
    assert word in refused(farm, asked(farm, protocol=protocol))


@pytest.mark.parametrize(("version", "word"), [(SYNC - 2, "too old"), (SYNC + 2, "too new")])
def test_a_sync_that_nobody_speaks(farm: Farm, version: int, word: str):
    said = refused(farm, asked(farm, sync=version))
    assert word in said
    assert "`sync`" in said


def test_a_neighbouring_protocol(farm: Farm):
    assert exchange(farm, asked(farm, protocol=PROTOCOL + 1, sync=SYNC - 1))
    order(farm, "beef", OrderState.OPEN)
    assert exchange(farm, asked(farm, "beef-1", sync=SYNC + 1))


@pytest.mark.parametrize("state", [OrderState.REFUSED, OrderState.CLOSED])
def test_an_order_that_is_over(farm: Farm, state: OrderState):
    order(farm, "beef", state)
    assert "is over" in refused(farm, asked(farm, "beef-1"))


def test_what_was_never_ordered(farm: Farm):
    assert "never ordered" in refused(farm, asked(farm, "f00d-1"))
    assert "never ordered" in refused(farm, asked(farm, "nonsense"))
    order(farm, "cafe", OrderState.OPEN, pool="other")
    assert "never ordered" in refused(farm, asked(farm, "cafe-1"))


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (ExecutorState.DRAINING, "not needed any more: idle"),
        (ExecutorState.LOST, "given up: idle"),
        (ExecutorState.GONE, "given up: idle"),
    ],
)
def test_an_executor_that_is_not_wanted(farm: Farm, state: ExecutorState, word: str):
    executor(farm, "abcd-1", state)
    assert word in refused(farm, asked(farm))


def test_a_machine_that_says_why_it_cant_come_is_given_up(farm: Farm):
    executor(farm, "abcd-1", ExecutorState.BOOTING)
    said = asked(farm)
    failed(farm, said, f"no Ray here; {said.secret}")
    with farm.db.read() as tx:
        row = tx.execute(select(t.Executor)).one()
        fact = tx.execute(select(t.PoolFact)).one()
        (kept,) = last_failures(tx, "far")
    assert (row.state, row.why) == (ExecutorState.LOST, "it could not join: no Ray here; …")
    assert fact.breaker_until > farm.clock.now()
    assert (kept["what"], kept["executor"], kept["host"]) == ("no Ray here; …", "abcd-1", "h1")


def test_nobody_speaks_ill_of_others(farm: Farm):
    executor(farm, "abcd-1", ExecutorState.BOOTING)
    with pytest.raises(NotWelcome):
        failed(farm, asked(farm, secret="join_guess"), "a lie")
    with farm.db.read() as tx:
        assert tx.execute(select(t.Executor.state)).scalar_one() == ExecutorState.BOOTING
        assert last_failures(tx, "far") == []


def test_failures_are_bounded_and_those_of_unknown_pools_not_kept(farm: Farm):
    with farm.db.write() as tx:
        row = {"at": farm.clock.now(), "pool": "far", "executor": "e", "host": "h", "what": "w"}
        tx.execute(insert(t.JoinFailure), [row] * (KEPT + 50))
    refused(farm, asked(farm, "beef-1"))
    with pytest.raises(NotWelcome):
        exchange(farm, asked(farm, pool="no-such-pool"))
    with farm.db.read() as tx:
        assert len(tx.execute(select(t.JoinFailure.id)).all()) == KEPT


def fails(farm: Farm, said: Asked) -> None:
    with pytest.raises(NotWelcome):
        exchange(farm, said)


def failures(farm: Farm) -> int:
    with farm.db.read() as tx:
        return len(tx.execute(select(t.JoinFailure.id)).all())


def test_of_strangers_one_a_second_is_kept_of_each_pool(farm: Farm, caplog: pytest.LogCaptureFixture):
    stranger = asked(farm, secret="join_guess")
    with caplog.at_level(logging.WARNING):
        for _ in range(BURST + 10):
            fails(farm, stranger)
        assert failures(farm) == 1
        fails(farm, asked(farm, "beef-1"))  # never ordered, but it has a ticket
        fails(farm, replace(stranger, pool="other"))
        assert failures(farm) == 3
        farm.clock.turn(1)
        fails(farm, stranger)
    assert failures(farm) == 4
    lines = [one.getMessage() for one in caplog.records if "can't join" in one.getMessage()]
    assert len(lines) == BURST + 1
    assert "(12 more were not told here)" in lines[-1]


def test_strangers_never_take_the_writer(farm: Farm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(farm.db), "write", lambda _self: pytest.fail("somebody without a ticket writes"))
    for change in ({"secret": "join_guess"}, {"farm": "ffff"}, {"protocol": PROTOCOL + 2}):
        fails(farm, asked(farm, pool="no-such-pool", **change))


def settled(tmp_path: Path, text: str) -> Farm:
    home = Home(tmp_path / "another").make()
    home.config_file.write_text(text)
    return open_farm(home, TurnedClock())


def test_a_pool_elsewhere_needs_an_address_of_the_farm(tmp_path: Path):
    farm = settled(tmp_path, '[pools.far]\nprovider = "local"\nnetwork = "outbound"\n')
    with pytest.raises(BadConfig) as caught:
        providers(farm)
    assert "this farm has no address for them" in caught.value.what
    assert caught.value.where.endswith("farm.toml line 3")
    assert "farm up --listen HOST:PORT" in caught.value.remedy
    farm.close()


@pytest.mark.parametrize(
    ("said", "script"),
    [
        ("apt-get install -y povray", "apt-get install -y povray"),
        ("one\\ntwo", "one\ntwo"),
        ("tools.sh", "#!/bin/sh\ntrue\n"),
        ("", ""),
    ],
)
def test_a_setup_is_a_script_or_the_name_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, script: str
):
    farm = settled(tmp_path, f'[pools.far]\nprovider = "local"\nsetup = "{said}"\n')
    (farm.home.path / "tools.sh").write_text("#!/bin/sh\ntrue\n")
    seen: list[Surroundings] = []
    monkeypatch.setattr(registry, "provider", lambda _name, _options, around: seen.append(around))
    monkeypatch.setattr(metered, "metered", lambda made, _name: made)
    providers(farm)
    assert [around.setup for around in seen] == [script]
    farm.close()


def test_a_setup_script_that_is_not_there(tmp_path: Path):
    farm = settled(tmp_path, '[pools.far]\nprovider = "local"\nsetup = "nothing.sh"\n')
    with pytest.raises(BadConfig, match=r"'nothing.sh' can't be read: No such file") as caught:
        providers(farm)
    assert caught.value.where.endswith("farm.toml line 3")
    farm.close()
