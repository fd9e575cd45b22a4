"""Works and events come out as they went in, and nothing else comes out."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.contract import Event, EventKind, FileRef, Work
from executors.packed import Events, Went, Works, event, plain

patient = settings(deadline=None)  # a busy machine is no reason to fail
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(0, 2**52)
refs = st.builds(FileRef, texts, texts, numbers, st.integers(0, 0o777))
works = st.builds(
    Work,
    attempt=texts,
    token=numbers,
    term=numbers,
    argv=st.lists(texts, max_size=3).map(tuple),
    env=st.dictionaries(st.sampled_from(["A", "B", "C"]), st.sampled_from(["", "1", "2"])),
    cwd=st.sampled_from(["", "x"]),
    inputs=st.lists(refs, max_size=2).map(tuple),
    outputs=st.lists(texts, max_size=2).map(tuple),
    slots=st.integers(1, 3),
    timeout_s=st.floats(0, 9),
    memory_bytes=numbers,
)


@st.composite
def runs(draw):
    """Consecutive events, log events with their bytes."""
    first = draw(st.integers(1, 9))
    found = []
    for seq in range(first, first + draw(st.integers(1, 6))):
        if draw(st.booleans()):
            data = draw(st.binary(max_size=9))
            lo = draw(numbers)
            found.append(Event(seq, EventKind.LOG, "1.1.1", 5, spool="0-1", lo=lo, hi=lo + len(data), data=data))
        else:
            outputs = tuple(draw(st.lists(refs, max_size=2)))
            found.append(Event(seq, EventKind.FINISHED, draw(texts), message=draw(texts), outputs=outputs))
    return found


@patient
@given(st.lists(works, max_size=5))
def test_works_come_out_as_they_went_in(given_works):
    packed = Works.of(given_works)
    assert list(Works(packed.data, len(given_works))) == given_works
    assert Works.of(packed) is packed
    assert pickle.loads(pickle.dumps(packed)) == given_works


def test_what_works_share_travels_once():
    many = [Work(f"1.{n}.1", n, 1, ("a-long-command",), {"SAME": "a-long-value", "N": str(n)}) for n in range(10)]
    data = Works.of(many).data
    assert (data.count(b"a-long-command"), data.count(b"a-long-value")) == (1, 1)


@patient
@given(runs())
def test_events_come_out_as_they_went_in(events):
    packed = Events.of(events)
    assert list(Events(packed.first, packed.last, packed.lines, packed.data)) == events
    assert len(packed) == len(events)
    assert pickle.loads(pickle.dumps(packed)) == events


@patient
@given(runs(), st.integers(0, 20))
def test_events_beyond_a_number(events, seq):
    assert list(Events.of(events).beyond(seq)) == [e for e in events if e.seq > seq]


@patient
@given(runs(), st.data())
def test_parts_that_follow_each_other_join(events, data):
    cut = data.draw(st.integers(1, len(events)))
    parts = [Events.of(part) for part in (events[:cut], events[cut:]) if part]
    assert list(Events.joined(parts)) == events


@pytest.mark.parametrize(
    "packed",
    [
        Events(1, 1, b"{}\n"),
        Events(1, 1, b'{"seq":1,"kind":"nonsense"}\n'),
        Events(1, 2, b'{"seq":1,"kind":"started"}\n'),
        Events(1, 1, b'{"seq":2,"kind":"started"}\n'),
        Events(1, 1, b'{"seq":1,"kind":"log","lo":0,"hi":3}\n', b"ab"),
        Events(1, 1, b'{"seq":1,"kind":"started"}\n', b"ab"),
        Events(1, 1, b"not json\n"),
    ],
)
def test_events_that_are_none_are_refused(packed):
    with pytest.raises((ValueError, KeyError, TypeError)):
        list(packed)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"common":{},"works":[]}', b'{"common":{},"works":[{}]}', b'{"common":{},"works":[{"x":1}]}'],
)
def test_works_that_are_none_are_refused(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        list(Works(data, 1))


names = st.text("0123456789.-", min_size=1, max_size=12).filter(plain)


@patient
@given(st.builds(Went, names, numbers, numbers, numbers, numbers, numbers, names, numbers), numbers)
def test_an_end_without_a_word_is_written_by_hand_as_json_would(went, seq):
    attempt, token, started, at, cpu_ms, rss_kib, spool, lo = went
    facts = {"token": token, "at": at, "started": started, "cpu_ms": cpu_ms, "rss_kib": rss_kib, "spool": spool}
    assert event(went.line(seq)) == Event(seq, EventKind.FINISHED, attempt, hi=lo, lo=lo, **facts)


@patient
@given(st.text(max_size=6))
def test_names_that_are_plain_need_no_escapes(name):
    assert not plain(name) or set(name) <= set("0123456789.-")


@patient
@given(works, st.lists(st.tuples(st.integers(1, 9**9), numbers), max_size=4))
def test_works_that_are_alike_are_told_by_what_is_their_own(shared, own):
    said = [f'{{"attempt":"1.{n}.1","token":{token},"env":{{"N":"{n}"}}}}' for n, token in own]
    packed = Works.alike(shared, said)
    expected = [replace(shared, attempt=f"1.{n}.1", token=t, env={**shared.env, "N": f"{n}"}) for n, t in own]
    assert list(Works(packed.data, len(own))) == expected
