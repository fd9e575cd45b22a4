"""What a hook says of a push: a spooled file of JSON."""

import tempfile
from pathlib import Path

from farm.home import Home
from farm.hooks import read_spool, spool

TOKENS = [
    '{"repository":',
    '"ref":',
    '"old":',
    '"new":',
    '"refs/heads/x"',
    '"' + "0" * 40 + '"',
    ",",
    "}",
    "[",
    "[" * 3000,
    '"\\ud800"',
    '"\\u0000"',
    "9" * 5000,
    "NaN",
    '"/"',
    '"/' + "x" * 300 + '"',
]


def target(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        spool(home).mkdir(parents=True)
        (spool(home) / "1.json").write_bytes(data)
        assert read_spool(home) == []
        assert (spool(home) / "bad" / "1.json").read_bytes() == data
