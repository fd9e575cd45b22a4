"""However tasks come and go, no more licences are in use than there are, and none is kept back that could be had."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.licences import ANY, Uses
from schedules.model import Licence

names = st.sampled_from(["maya", "nuke"])
needs = st.dictionaries(names, st.integers(1, 3), min_size=1)
tasks = st.lists(st.tuples(needs, st.sampled_from(["e1", "e2", "e3"]), st.integers(1, 4)), max_size=25)
farms = st.fixed_dictionaries(
    {name: st.builds(Licence, st.integers(0, 6), st.sampled_from(["task", "host"])) for name in ("maya", "nuke")}
)


@settings(max_examples=150, deadline=None)
@given(farms, tasks)
def test_no_more_are_in_use_than_there_are(
    known: dict[str, Licence], wanted: list[tuple[dict[str, int], str, int]]
) -> None:
    uses, per_task = Uses(known), Counter[str]()
    for each, executor, count in wanted:
        n = min(count, uses.room(each, executor))
        if n:
            uses.take(each, executor, n)
            per_task.update({name: c * n for name, c in each.items()})
        assert n == count or uses.room(each, executor) == 0
    for name, licence in known.items():
        assert uses.used(name) + uses.free(name) == licence.count
        assert licence.per == "host" or per_task[name] == uses.used(name)


def test_tasks_of_a_host_share_its_licence() -> None:
    uses = Uses({"maya": Licence(1, "host")})
    uses.take({"maya": 1}, "e1", 4)
    assert (uses.used("maya"), uses.room({"maya": 1}, "e1"), uses.room({"maya": 1}, "e2")) == (1, ANY, 0)
    assert uses.room({"maya": 2}, "e1") == 0  # it holds one, and there is no other
    assert not uses.spare({"maya": 1})


def test_one_that_is_known_no_more_lets_nothing_begin() -> None:
    assert Uses({}).room({"maya": 1}, "e1") == 0
    assert Uses({}).room({}, "e1") == ANY


def test_of_fewer_than_are_in_use_none_is_free() -> None:
    uses = Uses({"maya": Licence(2)}, {"maya": {"e1": 5}})
    assert (uses.free("maya"), uses.room({"maya": 1}, "e1")) == (0, 0)


def test_machines_are_wanted_for_as_many_as_may_begin() -> None:
    uses = Uses({"maya": Licence(5), "nuke": Licence(2, "host")}, {"maya": {"e1": 1}})
    assert uses.begins({"maya": 1}, 3, 4) == 3
    assert uses.begins({"maya": 1}, 3, 4) == 1
    assert uses.begins({"nuke": 1}, 100, 4) == 8  # two hosts of four slots
