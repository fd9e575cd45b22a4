"""Many jobs in one request are jobs like any other; against every database that Farm supports."""

from typing import Any

import pytest
from sqlalchemy import event

from farm.model import Item, ManyJobs, Range, StepSpec
from farm.queue.many import submit_many
from farm.refusal import Refusal
from tests.contract.queue_farm import LANES, QueueFarm, of


def many(commands: list[list[str]], *steps: StepSpec, **more: object) -> ManyJobs:
    job = {"name": "many", "owner": "ada", "steps": steps or (StepSpec(argv=("echo",)),), **more}
    return ManyJobs.model_validate({"job": job, "commands": commands})


def submitted(farm: QueueFarm, asked: ManyJobs) -> list[int]:
    with farm.db.write() as tx:
        return submit_many(tx, asked, LANES, farm.clock.now())


def test_each_command_is_a_job_of_its_own(farm: QueueFarm) -> None:
    jobs = submitted(farm, many([["a", "1"], ["b"], []], lane="bulk", project="film", priority=3))
    assert len(set(jobs)) == 3
    works = {of(work): work.argv for work in farm.claim(5)}
    assert [works[job] for job in jobs] == [("echo", "a", "1"), ("echo", "b"), ("echo",)]
    found = [farm.job(job) for job in jobs]
    for name, value in (("lane", "bulk"), ("project", "film"), ("priority", 3), ("state", "running")):
        assert {job[name] for job in found} == {value}


def test_as_many_statements_are_written_for_hundreds_as_for_three(farm: QueueFarm) -> None:
    def rows(commands: int) -> int:
        """Sent by themselves."""
        sent: list[int] = []

        def note(*about: Any) -> None:
            sent.append(len(about[3]) if about[5] else 1)

        event.listen(farm.db.engine, "before_cursor_execute", note)
        try:
            submitted(farm, many([[str(n)] for n in range(commands)]))
        finally:
            event.remove(farm.db.engine, "before_cursor_execute", note)
        return sum(sent)

    assert rows(300) == rows(3)


@pytest.mark.parametrize("word", ["ü \\ \" '", "{index}", "😀", "%s :x", "[]"])
def test_words_arrive_as_they_were_sent(farm: QueueFarm, word: str) -> None:
    submitted(farm, many([["a"], [word, ""], ["b", word]]))
    assert [work.argv[1:] for work in farm.claim(3)] == [("a",), (word, ""), ("b", word)]


def test_they_end_by_themselves(farm: QueueFarm) -> None:
    first, second, third = submitted(farm, many([["a"], ["b"], ["c"]]))
    works = {of(work): work for work in farm.claim(3)}
    farm.finish([works[second]])
    farm.finish([works[third]], exit=3)
    assert [farm.state(job) for job in (first, second, third)] == ["running", "done", "failed"]


def test_one_command_is_one_job(farm: QueueFarm) -> None:
    [job] = submitted(farm, many([["a"]]))
    assert farm.submit(StepSpec(argv=("true",))) != job
    assert farm.run(job) == [f"{job}.1.1", f"{job + 1}.1.1"]


def test_what_is_kept_of_the_first_is_kept_of_all(farm: QueueFarm) -> None:
    step = StepSpec(argv=("make",), env={"A": "1"}, cpu=2, retries=1, timeout_s=9, outputs=("out/*",))
    submitted(farm, many([["x"], ["y"]], step))
    works = farm.claim(4)
    assert {(w.slots, w.timeout_s, w.outputs, w.env["A"]) for w in works} == {(2, 9.0, ("out/*",), "1")}
    farm.finish(works, exit=1)
    assert len(farm.claim(4)) == 2


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        ((StepSpec(argv=("a",), array=Range(first=1, last=2)),), {}, "each of one task"),
        ((StepSpec(items=(Item(name="a", argv=("a",)),)),), {}, "each of one task"),
        ((StepSpec(argv=("a",)), StepSpec(name="b", argv=("b",))), {}, "each of one task"),
        ((), {"held": True}, "none is held"),
        ((), {"after": [1]}, "come after nothing"),
        ((), {"lane": "nowhere"}, "there is no lane"),
    ],
)
def test_what_is_more_than_a_command_is_refused(
    farm: QueueFarm, steps: tuple[StepSpec, ...], more: dict[str, object], said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        submitted(farm, many([["a"], ["b"]], *steps, **more))
