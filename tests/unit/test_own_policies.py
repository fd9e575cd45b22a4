"""Policies of one's own: found by entry points, run beside the farm, bounded, and never believed when they fail."""

import json
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from farm import policies
from farm.cli import main
from farm.config import BadConfig, load
from farm.policy_guard import STANDS, Guarded, PolicyFailed
from farm.policy_process import PolicyProcess
from schedules.bounds import NoDecision, bounded
from schedules.model import Decision, Demand, Drain, Executor, Launch, Pool, Retire, Snapshot, Unmet, Waiting
from schedules.policy import default
from tests.recorded_days import bursts
from tests.unit.test_simulate import write

ROOT = Path(__file__).parents[2]

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
S = timedelta(seconds=1)
CLOUD = Pool("cloud", Decimal("0.50"), 2, 16, 2, 60 * S, 90 * S)
WRITTEN = """
import os, time
from schedules.model import Decision, Launch, Retire

def one_each(seen):
    waiting = sum(w.count for d in seen.demand for w in d.waiting)
    there = [e for e in seen.executors if e.state != "draining"]
    lack = waiting - sum(e.slots - e.busy_slots for e in there)
    if lack > 0:
        return Decision((Launch(seen.pools[0].name, lack, seen.pools[0].slots, "one for each task that waits"),))
    return Decision(())

def raises(seen):
    return seen.pools["cloud"]

def hangs(seen):
    while True:
        pass

def greedy(seen):
    return Decision((Launch("cloud", 10_000, 2, "more"),))

def many(seen):
    idle = tuple(Retire(e.id, "") for e in seen.executors if e.state == "ready" and not e.busy_slots)
    waiting = any(d.waiting for d in seen.demand)
    return Decision((Launch("pool", 10_000, 1, "more"),) if waiting and not seen.executors else idle)

def prints(seen):
    print("hello" * 10000)
    return Decision(())

def ends(seen):
    os._exit(3)

def odd(seen):
    return lambda: None

def forks(seen):
    if not os.fork():
        stay()
    while True:
        pass

def escapes(seen):
    if not os.fork():
        os.setsid()
        stay()
    os._exit(0)

def stay():
    with open(os.environ["STAYS"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)
    os._exit(0)

def twice(seen):
    os.fork()
    return Decision((), None, (), (seen.now.isoformat(),))

def floods(seen):
    return Decision((), None, (), ("x" * (17 << 20),))

class Mine:
    pass

def own_kind(seen):
    return Decision((), None, (), (Mine(),))

def elsewhere(seen):
    from zoneinfo import ZoneInfo
    return Decision((), (seen.now + seen.pools[0].boot).astimezone(ZoneInfo("Europe/Prague")))
"""
ODD = ("forks", "escapes", "twice", "floods", "own_kind", "elsewhere")
NAMES = ("one_each", "raises", "hangs", "greedy", "many", "prints", "ends", "odd", *ODD)


def install(site, monkeypatch, module, text, names):
    """As if somebody had installed a package with them."""
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {module}:{name}" for name in names]
    (info / "entry_points.txt").write_text("\n".join(["[farm.policies]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, "mine_policies", WRITTEN, (*NAMES, "gone"))


def see(*executors, waiting=0, pool=CLOUD, now=NOW):
    row = (Waiting(waiting, now, now, 10 * S, 1, "7"),) if waiting else ()
    return Snapshot(now, (), (pool,), executors, (Demand("default", row),))


def executor(name="a", busy=0, state="ready"):
    return Executor(name, "cloud", state, 2, busy, NOW - 600 * S, None if busy else NOW - 500 * S)


# ── found ──


def test_a_policy_is_found_by_its_name_and_runs_guarded(installed):
    assert set(policies.known()) >= set(NAMES)
    policy = policies.policy_of("one_each")
    try:
        decision = policy(see(waiting=5))
        assert decision.actions == (Launch("cloud", 5, 2, "one for each task that waits"),)
        assert decision.notes == ()
    finally:
        policies.close(policy)


def test_farm_toml_may_name_it_and_refuses_what_nobody_installed(installed, tmp_path):
    file = tmp_path / "farm.toml"
    file.write_text('policy = "one_each"\n')
    assert load(file).policy == "one_each"
    file.write_text('currency = "EUR"\npolicy = "one_eech"\n')
    with pytest.raises(BadConfig) as refused:
        load(file)
    assert "there is no policy 'one_eech'" in str(refused.value)
    assert "one_each" in str(refused.value)
    assert "line 2" in refused.value.where


def test_without_one_the_farms_own_decides():
    assert policies.policy_of(None) is default
    assert policies.policy_of("thrifty") is default


def test_the_one_in_the_documentation_runs_in_the_simulator(tmp_path, monkeypatch, capsys):
    (text,) = re.findall(r"```python\n# mine.py\n(.*?)```", (ROOT / "docs" / "policies.md").read_text(), re.DOTALL)
    install(tmp_path / "site", monkeypatch, "mine", text, ["eager"])
    trace = write(tmp_path / "day.csv", bursts(30))
    assert main(["simulate", trace, "--preset", "thrifty,eager", "--json"]) == 0
    thrifty, eager = json.loads(capsys.readouterr().out)["policies"]
    assert (eager["name"], eager["trouble"]) == ("eager", "")
    assert eager["wait_max"] <= 61 < thrifty["wait_max"]


def test_the_simulator_says_what_went_wrong(installed, tmp_path, capsys):
    trace = write(tmp_path / "day.csv", bursts(5))
    assert main(["simulate", trace, "--preset", "many,raises", "--ceiling", "3"]) == 0
    said = capsys.readouterr().err
    assert "policy many: 10,000 executors asked of pool pool, 3 ordered: its ceiling" in said
    assert "policy raises: it raised TypeError" in said


def test_the_simulator_says_of_which_policy_jobs_wait_for_ever(installed, tmp_path, capsys):
    trace = write(tmp_path / "day.csv", bursts(5))
    assert main(["simulate", trace, "--preset", "prints"]) == 2
    assert "policy prints leaves 5 of 5 jobs waiting for ever" in capsys.readouterr().err


# ── beside the farm ──


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("raises", r"it raised TypeError: .*mine_policies.py line 14"),
        ("hangs", "no answer within 0.3 s"),
        ("ends", r"its process ended \(3\)"),
        ("odd", "what it gave can't be told"),
        ("gone", "it raised AttributeError"),
    ],
)
def test_one_that_fails_is_ended_and_told_of_and_the_next_question_starts_it_anew(installed, name, what):
    asked = PolicyProcess(name, limit_s=0.3 if name == "hangs" else 60)
    try:
        for _ in range(2):
            with pytest.raises(PolicyFailed, match=what):
                asked.ask(see(waiting=1))
    finally:
        asked.close()


def test_what_it_prints_is_no_answer(installed):
    asked = PolicyProcess("prints", limit_s=60)
    try:
        assert asked.ask(see()) == Decision(())
    finally:
        asked.close()


@pytest.mark.parametrize("name", ["forks", "escapes"])
def test_what_it_has_started_and_left_holds_up_nobody(installed, monkeypatch, tmp_path, name):
    monkeypatch.setenv("STAYS", str(tmp_path / "stays"))
    asked, said = PolicyProcess(name, limit_s=3, start_s=60), []

    def ask():
        try:
            asked.ask(see())
        except PolicyFailed as failed:
            said.append(str(failed))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        thread.join(150)  # what it has started stays for 300 s
        assert said == ["no answer within 3 s"]
    finally:
        asked.close()
        with suppress(OSError, ValueError):
            os.kill(int((tmp_path / "stays").read_text()), signal.SIGKILL)


def test_a_process_that_it_has_started_answers_nothing(installed):
    asked = PolicyProcess("twice", limit_s=60)
    try:
        for n in range(5):
            assert asked.ask(see(now=NOW + n * S)).notes == ((NOW + n * S).isoformat(),)
    finally:
        asked.close()


def test_an_answer_beyond_all_bounds_is_not_taken_in(installed):
    asked = PolicyProcess("floods", limit_s=60)
    with pytest.raises(PolicyFailed, match="its answer has more than 16,777,216 bytes"):
        asked.ask(see())


def test_its_module_is_never_run_by_the_farm_itself(installed):
    asked = PolicyProcess("own_kind", limit_s=60)
    with pytest.raises(PolicyFailed, match=r"it gave a mine_policies\.Mine, of which no decision is made"):
        asked.ask(see())
    assert "mine_policies" not in sys.modules


def test_it_may_speak_of_times_in_any_zone(installed):
    asked = PolicyProcess("elsewhere", limit_s=60)
    try:
        assert asked.ask(see()).look_again == NOW + CLOUD.boot
    finally:
        asked.close()


# ── what it decided last stands ──


class Scripted:
    """Answers, or raises, in turn."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def ask(self, seen):
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        pass


def test_while_it_fails_nothing_changes_and_it_is_left_alone_for_longer_and_longer():
    unmet = (Unmet("7", 1, "no pool"),)
    script = Scripted(Decision((), None, unmet), *[PolicyFailed("it raised Ugh")] * 3)
    policy = Guarded("mine", script)
    policy(see())
    for at, asked in ((1, 2), (2, 2), (5, 2), (6, 3), (15, 3), (16, 4), (35, 4)):
        decision = policy(see(executor(), now=NOW + at * S))
        assert (decision.actions, decision.unmet) == ((), unmet), at
        assert decision.notes == ("policy mine: it raised Ugh; what it decided last stands",)
        assert script.asked == asked, at
        assert decision.look_again > NOW + at * S


def test_it_is_forgiven():
    policy = Guarded("mine", Scripted(PolicyFailed("it raised Ugh"), Decision(())))
    assert policy(see()).notes
    assert policy(see(now=NOW + 6 * S)).notes == ()


def test_after_a_while_of_failures_the_farms_own_policy_decides_so_that_nothing_idles_for_ever():
    policy = Guarded("mine", Scripted(*[PolicyFailed("it raised Ugh")] * 99))
    assert policy(see(executor())).actions == ()
    decision = policy(see(executor(), now=NOW + STANDS))
    assert [act.executor for act in decision.actions] == ["a"]
    assert decision.notes == ("policy mine: it raised Ugh; Farm's own policy decides in its place",)


def test_a_clock_that_was_set_back_makes_nobody_wait_for_hours():
    script = Scripted(PolicyFailed("it raised Ugh"), Decision(()))
    policy = Guarded("mine", script)
    policy(see(now=NOW + 3600 * S))
    assert policy(see()).notes == ()


# ── bounded ──


def test_ten_thousand_machines_are_as_many_as_the_ceiling_allows(installed):
    policy = policies.policy_of("greedy")
    try:
        decision = policy(see(executor()))
    finally:
        policies.close(policy)
    assert decision.actions == (Launch("cloud", 7, 2, "more"),)
    assert decision.notes == ("policy greedy: 10,000 executors asked of pool cloud, 7 ordered: its ceiling",)


@pytest.mark.parametrize(
    ("action", "note"),
    [
        (Launch("moon", 1, 2, ""), "there is no pool 'moon'"),
        (Launch("cloud", -1, 2, ""), "-1 executors of 2 slots"),
        (Launch("cloud", 1.5, 2, ""), "1.5 executors"),
        (Launch("cloud", 1, 0, ""), "1 executors of 0 slots"),
        (Launch("cloud", 1, 99, ""), "pool cloud gives 2 slots at most"),
        (Launch(None, 1, 2, ""), "there is no pool 'None'"),
        (Retire("z", ""), "there is no executor 'z'"),
        (Retire("b", ""), "executor b is at work"),
        (Drain(["b"], ""), "there is no executor"),
        ("retire a", "a str is no action"),
    ],
)
def test_what_may_not_be_is_left_out_and_told(action, note):
    seen = see(executor(), executor("b", busy=1))
    decision = bounded(seen, Decision((action, Retire("a", "go"))))
    assert decision.actions == (Retire("a", "go"),)
    assert note in decision.notes[0]


def test_several_orders_share_the_room_below_the_ceiling():
    decision = bounded(see(), Decision((Launch("cloud", 5, 2, ""), Launch("cloud", 5, 2, ""))))
    assert [act.count for act in decision.actions] == [5, 3]


@pytest.mark.parametrize("shut", [{"breaker_open_until": NOW + 60 * S}, {"closed": "held", "closed_why": "by eva"}])
def test_a_pool_that_is_shut_sells_to_nobody(shut):
    decision = bounded(see(pool=replace(CLOUD, **shut)), Decision((Launch("cloud", 1, 2, ""),)))
    assert decision.actions == ()
    assert decision.notes


def test_a_pool_that_a_person_closed_is_left_whatever_the_policy_says():
    closed = replace(CLOUD, closed="held", closed_why="pool cloud is held by eva")
    decision = bounded(see(executor(), executor("b", busy=1), pool=closed), Decision(()))
    assert [(type(act), act.executor) for act in decision.actions] == [(Retire, "a"), (Drain, "b")]


@pytest.mark.parametrize("given", [None, [], "launch", Decision(None), Decision((), None, 3)])
def test_what_is_no_decision_is_none(given):
    with pytest.raises(NoDecision):
        bounded(see(), given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Unmet(7, 2, None, None), Unmet("7", 2, "None")),
        (Unmet("7", "two", "full", ("ceiling", 3)), Unmet("7", 0, "full", ("ceiling",))),
        (Unmet("7", 1, "x" * 501, ["ceiling"]), Unmet("7", 1, "x" * 500, ("ceiling",))),
    ],
)
def test_what_it_leaves_waiting_is_told_in_plain_words_whatever_it_gave(given, told):
    assert bounded(see(), Decision((), None, (given, "nothing"))).unmet == (told,)


def test_it_can_look_again_only_later():
    assert bounded(see(), Decision((), NOW - S)).look_again is None
    assert bounded(see(), Decision((), NOW.replace(tzinfo=None))).look_again is None
    assert bounded(see(), Decision((), NOW + S)).look_again == NOW + S


def test_the_farms_own_policy_passes_its_own_bounds():
    seen = see(executor(), waiting=40)
    decision = default(seen)
    assert bounded(seen, decision) == decision
