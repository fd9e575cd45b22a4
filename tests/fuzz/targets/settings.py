"""farm.toml: pools, lanes, windows."""

import tempfile
from pathlib import Path

from farm.config import BadConfig, load

TOKENS = [
    "[pools.local]\n",
    "[site]\n",
    "[api]\n",
    "[lanes.bulk]\n",
    "[[schedules]]\n",
    "[schedules.pools.local]\n",
    'name = "n"\n',
    'zone = "Europe/Prague"\n',
    'zone = "../x"\n',
    'days = "mon-fri"\n',
    'hours = "22:00-06:00"\n',
    'hours = "24:00-24:00"\n',
    "holidays = [",
    '"2026-12-25"',
    "]\n",
    "ceiling = 8\n",
    "floor = 1\n",
    'idle = "1h"\n',
    "idle = inf\n",
    "idle = nan\n",
    "weight = inf\n",
    "slots = 99999999999999999999\n",
    "price_per_hour = 1e999\n",
    "price_per_hour = nan\n",
    'largest_upload = "' + "9" * 400 + 'T"\n',
    "currency = 1\n",
    "x = ",
    "[" * 3000,
    "1979-05-27",
    "\x00",
]


def target(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "farm.toml")
        path.write_bytes(data)
        try:
            config = load(path)
        except BadConfig:
            return
    config.windows()
    config.all_lanes()
