"""The gateways' entrance: whatever is posted is answered, and what is refused has changed nothing."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from executors.contract import Event, EventKind, FileRef, Ready, Running
from executors.site.protocol import CONTENT_TYPE, Report, decode_report, encode_report
from tests.fuzz.served_farm import ServedFarm

SEED = int(os.environ.get("FARM_SEED", 0)) or int.from_bytes(os.urandom(4))
FUZZ = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))

WORD = st.text(max_size=8)
NAME = st.one_of(st.sampled_from(["e1", "e2", "..", "a/b", "", "\0"]), WORD)
NUMBER = st.one_of(st.integers(0, 9), st.integers(), st.sampled_from([2**52, 2**63, 2**64, -1]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, st.floats(), WORD),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORD, inner, max_size=3)),
    max_leaves=6,
)
ATTEMPT = st.one_of(st.sampled_from(["1.1.1", "2.1.1", "1.1", "x", "", "0.0.0"]), WORD)
FILE = st.builds(FileRef, WORD, st.sampled_from(["a" * 64, "x"]), NUMBER, NUMBER)
LOG = st.binary(max_size=20).map(lambda data: {"kind": EventKind.LOG, "lo": 0, "hi": len(data), "data": data})
OTHER = st.fixed_dictionaries(
    {"kind": st.sampled_from([EventKind.STARTED, EventKind.FINISHED]), "at": NUMBER, "started": NUMBER},
    optional={
        "exit": NUMBER,
        "cause": WORD,
        "message": WORD,
        "cpu_ms": NUMBER,
        "rss_kib": NUMBER,
        "outputs": st.tuples(FILE),
    },
)
FACTS = st.tuples(st.one_of(LOG, OTHER), ATTEMPT, st.one_of(st.integers(0, 3), NUMBER), NAME)


def numbered(facts):
    return [
        Event(seq, attempt=attempt, token=token, spool=spool, **more)
        for seq, (more, attempt, token, spool) in enumerate(facts, 1)
    ]


REPORT = st.builds(
    Report,
    session=st.sampled_from(["s1", "s1", "s1", ""]),
    term=st.sampled_from([1, 1, 1, 1, 2, -1, 2**64]),
    received=st.sampled_from([0, 0, 1, 2**63]),
    wait_s=st.sampled_from([0, 0, 0, 0.01, -1, float("nan"), float("inf"), 10**9]),
    ready=st.lists(st.builds(Ready, NAME, NUMBER, NUMBER, WORD), max_size=2).map(tuple),
    lost=st.lists(NAME, max_size=2).map(tuple),
    events=st.dictionaries(NAME, st.lists(FACTS, max_size=4).map(numbered), max_size=2),
    snapshot=st.one_of(
        st.none(),
        st.none(),
        st.none(),
        st.lists(st.builds(Running, NAME, ATTEMPT, NUMBER, WORD), max_size=2).map(tuple),
    ),
    processes=st.lists(st.dictionaries(st.sampled_from(["role", "pid", "x"]), JSON), max_size=2).map(tuple),
)
KEYS = st.sampled_from(
    ["session", "term", "received", "wait_s", "ready", "lost", "events", "snapshot", "protocol", "x"]
)
HEAD = st.dictionaries(KEYS, JSON, max_size=6).map(lambda head: json.dumps(head).encode())
BODY = st.one_of(st.binary(max_size=60), HEAD, st.tuples(HEAD, st.binary(max_size=30)).map(b"\n".join))
PATH = "/v1/sites/local/sync"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with ServedFarm(tmp_path_factory.mktemp("farm")) as farm:
        farm.farm.sites.close()  # nobody waits for messages
        assert post(farm, encode_report(Report("s1", 1, snapshot=())))[0] == 200
        yield farm


def post(served, body):
    before = served.dump()
    status, said = served.call("POST", PATH, body, **{"Content-Type": CONTENT_TYPE})
    assert status in (200, 400, 409), said
    if status != 200:
        assert set(json.loads(said)["error"]) == {"what", "where", "remedy"}
        assert served.dump() == before
    return status, said


@seed(SEED)
@FUZZ
@given(report=REPORT)
def test_a_report_of_any_content_is_taken_or_refused(served, report):
    try:
        body = encode_report(report)
    except (UnicodeEncodeError, ValueError):
        return
    post(served, body)
    assert served.call("GET", "/v1/status")[0] == 200


@seed(SEED)
@FUZZ
@given(body=BODY)
def test_bytes_that_are_no_report_are_refused(served, body):
    post(served, body)
    assert served.call("GET", "/v1/status")[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"",
        b"\n",
        b"null",
        b'{"session":"s","term":1,"events":{"e":[1,1000000000000000,0,0]}}\n',
        b'{"session":"s","term":1,"events":{"e":[1,1e400,0,0]}}\n',
        b'{"session":"s","term":1,"events":{"e":[1,100000000000000000000,0,0]}}\n',
        b'{"session":"s","term":1,"wait_s":1e9}\n',
        b'{"session":"s","term":1,"wait_s":NaN}\n',
        b'{"session":"s","processes":[{"role":"x","pid":NaN}]}\n',
        b'{"session":"s","processes":[{"role":"\\ud800"}]}\n',
        b'{"session":"s","lost":["../../x"]}\n',
    ],
)
def test_nonsense_is_refused_in_one_sentence(served, body):
    assert post(served, body)[0] == 400


def test_a_site_that_does_not_exist_is_not_found(served):
    assert served.call("POST", "/v1/sites/moon/sync", encode_report(Report("s1", 1)))[0] == 404


def test_what_a_log_says_of_its_place_can_not_leave_the_folder(served):
    body = encode_report(
        Report("s", 1, snapshot=(), events={"..": [Event(1, EventKind.LOG, spool="farm.db", hi=1, data=b"x")]})
    )
    assert post(served, body)[0] == 400


@seed(SEED)
@FUZZ
@given(report=REPORT)
def test_what_is_encoded_is_decoded(report):
    try:
        again = decode_report(encode_report(report))
    except (UnicodeEncodeError, ValueError):
        return
    assert json.dumps([again.session, again.term, again.received]) == json.dumps(
        [report.session, report.term, report.received]
    )
    assert {who: list(e) for who, e in again.events.items()} == {who: list(e) for who, e in report.events.items()}
    assert again.ready == report.ready
    assert again.snapshot == report.snapshot
