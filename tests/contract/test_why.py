"""`farm why` answers for every cause that the code knows, and the code gives no other."""

import ast
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import insert

from executors import contract
from farm import tables as t
from farm import why
from farm.model import ExecutorState, StepSpec
from farm.queue import settle
from farm.refusal import NotFound
from farm.why.cause import LIMITS, REPORTED, Cause
from tests.contract.queue_farm import QueueFarm
from tests.contract.why_scenes import SCENES, Scene, ask, begin, end, step, there

FOLDER = Path(why.__file__).parent


def test_every_cause_has_a_scene() -> None:
    assert set(SCENES) == set(Cause)


@pytest.mark.parametrize(
    ("cause", "scene"), [pytest.param(c, s, id=f"{c}-{s.__name__}") for c in SCENES for s in SCENES[c]]
)
def test_the_answer_is_the_cause(farm: QueueFarm, cause: Cause, scene: Scene) -> None:
    answer = scene(farm)
    assert answer.cause is cause
    assert answer.rule
    assert answer.state
    assert answer.sentence[0].isupper()
    assert re.fullmatch(r".*[^.]\.", answer.sentence)
    json.dumps(asdict(answer))


def _trees() -> list[ast.AST]:
    return [ast.parse(path.read_text()) for path in FOLDER.glob("*.py") if path.name != "cause.py"]


def test_every_cause_is_given_somewhere() -> None:
    nodes = [n for tree in _trees() for n in ast.walk(tree)]
    named = {n.attr for n in nodes if isinstance(n, ast.Attribute) and _is(n.value, "Cause")}
    reported = {cause.name for cause in REPORTED.values()}
    assert named | reported == {cause.name for cause in Cause}


def test_every_answer_names_a_cause_of_the_list() -> None:
    """By the enum itself or a variable of that type (mypy holds it), never a word of its own."""
    made = [n for tree in _trees() for n in ast.walk(tree) if isinstance(n, ast.Call) and _is(n.func, "Why")]
    assert len(made) > 30
    for call in made:
        cause = call.args[2]
        assert isinstance(cause, ast.Attribute | ast.Name), ast.unparse(call)
        assert ast.unparse(cause).startswith(("Cause.", "cause", "first.cause")), ast.unparse(call)


def test_answers_are_made_nowhere_else() -> None:
    others = [p for p in FOLDER.parent.rglob("*.py") if FOLDER not in p.parents]
    assert [p for p in others if re.search(r"\bWhy\(", p.read_text())] == []


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_what_executors_may_report_is_known() -> None:
    comment = re.search(r'cause: str = ""  # (.*?)\n    message', Path(contract.__file__).read_text(), re.DOTALL)
    assert comment is not None
    text = re.sub(r'"" \(its own exit\)|a limit', "", comment[1])
    words = set(re.findall(r"[a-z][a-z-]+", text))
    assert {"timeout", "stale-term", "memory"} <= words
    assert words <= set(REPORTED)


@pytest.mark.parametrize("cause", list(LIMITS))
def test_a_limit_is_told_with_its_value(farm: QueueFarm, cause: Cause) -> None:
    answer = SCENES[cause][0](farm)
    limit = {"timeout": 10, "silence": 60, "output": 1 << 20, "memory": 1 << 30, "processes": 8}[str(cause)]
    assert limit in answer.numbers.values()
    assert re.search(r"limit of 10|nothing for 1 min|than 1 MiB|1 GiB|out of memory|than 8 proc", answer.sentence)


def test_a_busy_executor_says_what_it_runs_and_how_long_it_lives(farm: QueueFarm) -> None:
    there(farm)
    job = farm.submit(step(predicted_s=60))
    begin(farm, farm.claim()[0])
    answer = ask(farm, "executor e1")
    assert f"runs {job}.1.1; it lives until they end, by prediction at 12:01:00 UTC on Jan 05" in answer.sentence
    assert "then for 3 s more unless it gets work" in answer.sentence
    assert answer.numbers["runs"] == [f"{job}.1.1"]
    assert answer.numbers["idle_s"] == 3


def test_quarantine_tells_its_evidence(farm: QueueFarm) -> None:
    answer = SCENES[Cause.QUARANTINED][0](farm)
    assert answer.numbers["evidence"] == ["1.1.1", "2.1.1"]
    assert "1.1.1 (exit 9) and 2.1.1 (exit 9) failed on it" in answer.sentence


def test_a_suspect_is_named_before_it_is_convicted(farm: QueueFarm) -> None:
    there(farm)
    with farm.db.write() as tx:
        tx.execute(t.Executor.__table__.update().values(suspect={"job": 1, "attempt": "1.1.1"}))  # type: ignore[attr-defined]
    assert ask(farm, "executor e1").numbers["suspect"] == "1.1.1"


def test_a_late_result_is_told_with_its_attempt(farm: QueueFarm) -> None:
    job = farm.submit(step())
    late = farm.claim()
    with farm.db.write() as tx:
        settle.lose(tx, "e1", "it vanished", farm.clock.now())
    farm.finish(late, exit=0)
    answer = ask(farm, f"{job}.1.1")
    assert answer.cause is Cause.LOST
    assert len(answer.numbers["refused"]) == 1
    assert "from e1: exit 0" in answer.numbers["refused"][0]


def test_an_attempt_tells_what_followed(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("a",), retries=2))
    farm.finish(farm.claim(), exit=2)
    assert ask(farm, f"{job}.1.1").next == f"task {job}.1 is ready"
    farm.claim()
    assert ask(farm, f"{job}.1.1").next == f"attempt {job}.1.2 followed it"


def test_the_message_of_the_executor_is_the_reason(farm: QueueFarm) -> None:
    ref = end(farm, exit=-9, cause="timeout", message="ended after 10 s, its limit")
    assert ask(farm, ref + ".1").rule == "ended after 10 s, its limit"


def test_a_job_with_something_left_to_do_does_not_wait_for_a_licence(farm: QueueFarm) -> None:
    there(farm)
    job = farm.submit(StepSpec.model_validate({"argv": ("a",), "array": {"first": 1, "last": 2}, "licence_exit": 7}))
    farm.finish(farm.claim(), exit=7)
    assert ask(farm, str(job)).cause is not Cause.LICENCE
    farm.finish(farm.claim(), exit=7)
    answer = ask(farm, str(job))
    assert (answer.cause, answer.numbers["tasks"], answer.numbers["times"]) == (Cause.LICENCE, 2, 2)


@pytest.mark.parametrize("about", ["9", "9.1", "9.1.1", "executor x", "executor x-1", "pool x"])
def test_unknown_things_are_refused_with_a_remedy(farm: QueueFarm, about: str) -> None:
    with pytest.raises(NotFound) as caught:
        ask(farm, about)
    assert caught.value.remedy


def test_an_attempt_that_never_was_is_refused(farm: QueueFarm) -> None:
    job = farm.submit(step())
    for about in (f"{job}.1.4", f"{job}.9", f"{job}.9.1"):
        with pytest.raises(NotFound):
            ask(farm, about)


def test_every_state_of_an_executor_is_answered(farm: QueueFarm) -> None:
    now = farm.clock.now()
    for state in ExecutorState:
        row = {"id": f"e-{state}", "order": "o", "pool": "local", "site": "local", "state": state, "slots": 1}
        row |= {"price_nano": 0, "why": "a task waits", "ordered": now, "launched": now, "billed_until": now}
        if state != ExecutorState.ORDERED:  # never in this table: an open order is asked instead
            with farm.db.write() as tx:
                tx.execute(insert(t.Executor), row)
            assert ask(farm, f"executor e-{state}").state == state


def test_the_page_of_causes_names_each_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "why.md").read_text()
    words = [
        word for line in page.splitlines() if line.startswith("| `") for word in line.split("|")[1].split("`")[1::2]
    ]
    assert sorted(words) == sorted(str(cause) for cause in Cause)
