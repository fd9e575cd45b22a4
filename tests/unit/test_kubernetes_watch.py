"""The stream of what happens to pods: lines of JSON, cut into pieces anywhere."""

import json

import pytest

from executors.errors import Lost, ProviderError
from executors.kubernetes.api import Watch


class Answer:
    """Bytes as they come from a server."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def stream(self, amount: int, decode_content: bool):
        yield from self._chunks


def event(what: str, name: str) -> bytes:
    return json.dumps({"type": what, "object": {"metadata": {"name": name}}}).encode() + b"\n"


def names(*chunks: bytes) -> list[tuple[str, str]]:
    return [(what, pod["metadata"]["name"]) for what, pod in Watch(Answer(*chunks))]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_events_are_whole_wherever_they_were_cut(size: int):
    text = event("ADDED", "a-1") + event("MODIFIED", "a-1") + event("DELETED", "ä-2")
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert names(*chunks) == [("ADDED", "a-1"), ("MODIFIED", "a-1"), ("DELETED", "ä-2")]


def test_half_an_event_at_the_end_is_none():
    assert names(event("ADDED", "a-1"), event("DELETED", "a-1")[:-5]) == [("ADDED", "a-1")]


@pytest.mark.parametrize("line", [b"{}\n", b"\n", b'{"type": "ADD\n', b'{"type": "ADDED", "object": null}\n', b"[1]\n"])
def test_a_torn_line_ends_the_watch(line: bytes):
    with pytest.raises(Lost, match="torn"):
        names(line)


def test_an_old_version_is_told_as_an_error_in_the_stream():
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    with pytest.raises(ProviderError, match="too old"):
        names(json.dumps(gone).encode() + b"\n")
