"""What a process that is started for the farm finds in its environment: only what it has a use for. The environment of
who starts it may hold passwords of a database and keys of a cloud."""

import os
from pathlib import Path

import executors

NAMES = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
OUTWARD = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "APT_CONFIG")
"""How what is on the internet is reached."""


def passed_on(*more: str) -> dict[str, str]:
    """Ours, as far as it is of use, and the variables called `more`."""
    return {name: os.environ[name] for name in (*NAMES, *more) if name in os.environ}


def for_python(*more: str) -> dict[str, str]:
    """The same for a Python that has to find this package."""
    return passed_on(*more) | {"PYTHONPATH": str(Path(executors.__file__).parents[1])}
