"""Calls that were refused are counted, and told without what was shown."""

import logging

import pytest

from farm import refusals
from farm.auth import Scope
from farm.clock import TurnedClock
from tests.unit.tls_farm import TlsFarm


def test_reasons_that_repeat_what_was_sent_do_not_fill_the_memory():
    made = refusals.Refusals(TurnedClock())
    for number in range(3 * refusals.DIFFERENT):
        made.note("192.0.2.1", "/v1/join", f"it is of the farm {number}")
    made.note("192.0.2.1", "/v1/join", "it is of the farm 0")
    by = made.told()["by"]
    assert (len(by), by[refusals.OTHERS]) == (refusals.DIFFERENT + 1, 2 * refusals.DIFFERENT)
    assert (by["it is of the farm 0"], made.count()) == (2, 3 * refusals.DIFFERENT + 1)


@pytest.fixture
def farm(tmp_path):
    with TlsFarm(tmp_path) as made:
        yield made


def test_refused_calls_are_counted_and_told_without_the_secret(farm, caplog):
    number, secret = farm.token(Scope.READ)
    wrong = secret[:-4] + "AAAA"
    with caplog.at_level(logging.WARNING):
        assert farm.ask(f"/v1/jobs/{secret}", secret=wrong)[0] == 401
        assert farm.ask("/v1/prune", secret=secret, method="POST", body=b"{}")[0] == 403
    told = farm.farm.refusals.told()
    assert told["refused"] == farm.ask("/v1/status", secret=secret)[1]["refused"] == 2
    assert told["since"] == farm.ask("/v1/status", secret=secret)[1]["refused_since"]
    assert [one["token"] for one in told["last"]] == [number, number]
    assert [one["path"] for one in told["last"]] == ["/v1/prune", f"/v1/jobs/farm_{number}_…"]
    assert "127.0.0.1" in caplog.text
    for hidden in (secret.split("_", 2)[2], wrong.split("_", 2)[2], farm.farm.home.token()):
        assert hidden not in caplog.text + str(told)


def test_the_log_of_refusals_does_not_fill_the_disk(caplog):
    clock = TurnedClock()
    made = refusals.Refusals(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            made.note("192.0.2.1", "/x\n2026 INFO all is well", "no token")
        clock.turn(1)
        made.note("192.0.2.1", "/y", "no token")
    assert len(caplog.records) == refusals.BURST + 1
    assert "980 more were not told" in caplog.records[-1].getMessage()
    assert "\n" not in caplog.records[0].getMessage()
    assert made.count() == 1001
    assert len(made.told()["last"]) == refusals.KEPT
