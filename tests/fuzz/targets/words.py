"""What stands behind options: arrays, needs, sizes, durations; references to jobs, tasks and attempts."""

from datetime import timedelta

from farm.cli.needs import labels, needs
from farm.cli.values import array, seconds, size
from farm.durations import BadDuration, parse_duration
from farm.model import StepSpec
from farm.reference import parse_reference
from farm.refusal import Refusal
from farm.sizes import BadSize, parse_size

TOKENS = [
    "1",
    "17",
    ".3",
    ".2",
    "9" * 30,
    "9" * 400,
    "-",
    ":",
    "cpu=",
    "memory=",
    "gpus=",
    "!",
    ",",
    "G",
    "1.5",
    "GiB",
    "k",
    "h",
    "m",
    "ms",
    "30s",
    " ",
    "٣",
    "1e9",
    "nan",
    "inf",
]


def target(data: bytes) -> None:
    text = data.decode(errors="replace")
    for parse in (array, needs, size, seconds):
        try:
            parse(text, "--x") if parse is not needs else parse(text)
        except Refusal:
            continue
    _labels(text)
    _duration(text)
    _size(text)
    _reference(text)


def _labels(text: str) -> None:
    """What the command line takes is what the API takes."""
    try:
        found = labels([text])
    except Refusal:
        return
    assert StepSpec.model_validate({"argv": ["x"], "labels": found}).labels == (text,)


def _duration(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta()
    except BadDuration:
        pass


def _size(text: str) -> None:
    try:
        assert 0 <= parse_size(text) < 2**63
    except BadSize:
        pass


def _reference(text: str) -> None:
    try:
        found = parse_reference(text)
    except Refusal:
        return
    assert parse_reference(str(found)) == found
    assert all(0 < part < 10**18 for part in found if part is not None)
