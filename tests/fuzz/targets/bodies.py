"""JSON of requests."""

import json

from farm.api.bodies import parse
from farm.api.errors import Unfit

TOKENS = [
    '{"a":',
    '"a"',
    "1",
    ",",
    "}",
    "[",
    "]",
    "\\u0000",
    "\\\\u0000",
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "[" * 3000,
    "\ufeff",
    "null",
]


def target(data: bytes) -> None:
    try:
        made = parse(data)
    except Unfit:
        return
    text = json.dumps(made, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")
