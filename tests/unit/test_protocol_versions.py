"""Protocol versions N and N-1 understand each other: what an older one said is recorded, byte for byte."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from executors.contract import EventKind
from executors.invitation import Invitation
from executors.packed import Events
from executors.site.protocol import (
    PROTOCOL,
    Answer,
    Message,
    Report,
    decode_answer,
    decode_report,
    encode_answer,
    encode_report,
)

OLD = json.loads((Path(__file__).parent / "recorded" / "sync-1.json").read_text())


@pytest.fixture(params=range(len(OLD["reports"])))
def report(request):
    return OLD["reports"][request.param].encode("latin-1")


def test_an_older_report_is_understood_and_said_again_in_its_own_words(report):
    read = decode_report(report)
    assert read.protocol == PROTOCOL - 1
    again = encode_report(read)
    assert decode_report(again) == read
    assert json.loads(again.split(b"\n")[0]).keys() == json.loads(report.split(b"\n")[0]).keys()


def test_the_events_of_an_older_gateway():
    events = decode_report(OLD["reports"][2].encode("latin-1")).events["e-1"]
    assert [e.kind for e in events] == [EventKind.STARTED, EventKind.LOG, EventKind.FINISHED]
    assert (events[1].data, events[2].outputs[0].path, events[2].outputs[0].mode) == (b"hello\n", "out/a", 0o755)


def test_the_messages_of_an_older_farm():
    answer = decode_answer(OLD["answers"][1].encode("latin-1"))
    assert [m.kind for m in answer.messages] == ["attach", "start", "cancel", "stop", "halt"]
    assert [w.attempt for w in answer.messages[1].works] == ["17.3.1", "17.4.1"]
    assert answer.messages[1].works[0].inputs[0].path == "in"
    assert (answer.lease_s, answer.protocol) == (600.0, PROTOCOL - 1)


def test_an_older_farm_is_told_nothing_that_it_does_not_know():
    said = json.loads(encode_report(Report("s", now=5, protocol=PROTOCOL - 1)).split(b"\n")[0])
    assert set(said) <= {"session", "term", "received", "protocol", "ready", "events"}


def test_what_a_newer_one_says_beyond_is_left_out():
    def more(body):
        line, _, rest = body.partition(b"\n")
        head = json.loads(line) | {"colour": "green"}
        for message in head.get("messages", ()):
            message["shape"] = "round"
        return json.dumps(head).encode() + b"\n" + rest

    report = Report("s", now=5)
    assert decode_report(more(encode_report(report))) == report
    answer = Answer(3, messages=(Message(1, "attach", "e", slots=2),))
    assert decode_answer(more(encode_answer(answer))) == answer


def test_an_event_of_a_newer_executor_may_say_more():
    line = b'{"seq":1,"kind":"finished","attempt":"1.1.1","colour":"green"}\n'
    assert Events(1, 1, line)[0].attempt == "1.1.1"


def test_an_invitation_of_a_newer_farm_is_read():
    ticket = Invitation("https://f", "", "f1", "p", "o-1", 2, "s", 600.0)
    newer = json.dumps(json.loads(ticket.text()) | {"colour": "green", "protocol": 2})
    assert Invitation.read(newer) == replace(ticket, protocol=2)
