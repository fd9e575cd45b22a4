"""What gateways send and get: reports, answers, and the events of a journal."""

from executors.packed import event
from executors.site.protocol import decode_answer, decode_report, encode_report
from farm.api import soundness

REFUSALS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
TOKENS = [
    '{"session":"s"',
    ',"events":{"e":[1,1,',
    "40,",
    "0]}",
    "}",
    "\n",
    '{"seq":1,"kind":"log","lo":0,"hi":1}\n',
    '"ready":[',
    '"snapshot":',
    '{"term":1,"messages":[',
    "1e400",
    "9" * 30,
    "NaN",
    "[" * 3000,
    ",",
    "]",
    "null",
    "true",
]


def target(data: bytes) -> None:
    _report(data)
    for decode in (decode_answer, event):
        try:
            decode(data)
        except REFUSALS:
            continue


def _report(data: bytes) -> None:
    try:
        report = decode_report(data)
        soundness.check(report)
    except REFUSALS:
        return
    again = decode_report(encode_report(report))
    assert again.ready == report.ready
    assert {who: list(e) for who, e in again.events.items()} == {who: list(e) for who, e in report.events.items()}
