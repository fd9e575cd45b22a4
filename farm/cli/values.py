"""What people type behind options, as the API wants it. Every refusal shows the right form."""

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches

from farm.durations import BadDuration, parse_duration
from farm.refusal import Refusal
from farm.sizes import BadSize, parse_size

_RANGE = re.compile(r"(-?\d+)(?:-(-?\d+))?(?::(\d+))?")
NEEDS = ("cpu", "memory")


def array(text: str, option: str = "--array") -> dict[str, int]:
    """`1-100`, `1-100:2`, `7`."""
    match = _RANGE.fullmatch(text.strip())
    if not match:
        raise Refusal(f"{text!r} is no range", option, "write it like 1-100, or 1-100:2 for every second one")
    first, last, step = match.groups()
    made = {"first": int(first), "last": int(last or first), "step": int(step or 1)}
    if made["step"] < 1 or made["last"] < made["first"]:
        raise Refusal(f"{text!r} holds nothing", option, "write FIRST-LAST with FIRST not above LAST, steps from 1")
    return made


def needs(text: str) -> dict[str, int]:
    """`cpu=2,memory=4G`: the fields cpu (count) and memory (bytes) of a step."""
    made: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, value = part.partition("=")
        if name not in NEEDS:
            near = get_close_matches(name, NEEDS, 1) or NEEDS
            raise Refusal(f"no need is called {name!r}", "--needs", f"did you mean {near[0]}? such as cpu=2,memory=4G")
        made[name] = size(value, "--needs") if name == "memory" else _count(value)
    return made


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Refusal(f"{text!r} is no number of CPUs", "--needs", "write it like cpu=2")
    return int(text)


def size(text: str, option: str) -> int:
    """`4G`, `512M`, `1.5GiB`, bytes; powers of 1024."""
    try:
        return parse_size(text)
    except BadSize as error:
        raise Refusal(f"{text!r} is no size", option, "write it like 512M or 4G") from error


def seconds(text: str, option: str) -> float:
    """`90s`, `10m`, `1h30m`."""
    try:
        return parse_duration(text).total_seconds()
    except BadDuration as error:
        raise Refusal(str(error), option) from error


def environment(pairs: Sequence[str]) -> dict[str, str]:
    """`K=V`; a bare `K` takes the value of this shell."""
    made: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not (equals or name in os.environ):
            raise Refusal(f"{pair!r} is no variable", "--env", "write NAME=VALUE, or the NAME of one that is set here")
        made[name] = value if equals else os.environ[name]
    return made


def positive(text: str, option: str) -> int:
    """A job's number."""
    if not text.isdecimal() or int(text) < 1:
        raise Refusal(f"{text!r} is no job", option, "write its number, such as 17; see `farm jobs`")
    return int(text)
