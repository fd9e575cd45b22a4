"""Where everything is: what is built is kept in the user's cache, what runs in one short folder that goes with it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
NODE, NODE_IP = "node1", "10.244.77.1"
POD_NET, SERVICE_NET, SERVICE_IP = "10.244.77.0/24", "10.97.0.0/24", "10.97.0.1"
API_PORT = 16443  # inside the cluster's network, and on the loopback outside of it
INSIDE = f"https://{NODE_IP}:{API_PORT}"
OUTSIDE = f"https://127.0.0.1:{API_PORT}"
LIFE_DAYS = 30  # of certificates


class Trouble(Exception):
    """One sentence for who typed the command."""


@cache
def key() -> str:
    """Of everything that decides what is built."""
    digest = hashlib.sha256()
    for file in sorted((HERE / "go").rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    digest.update((HERE / "build.py").read_bytes())
    digest.update(_go_version().encode())
    return digest.hexdigest()[:16]


def _go_version() -> str:
    if shutil.which("go") is None:
        raise Trouble("please install Go 1.26 or newer: the cluster is built from Go modules")
    return subprocess.run(["go", "version"], check=True, capture_output=True, text=True).stdout


def cache_root() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "elastic-farm", "kubernetes")


def programs() -> Path:
    """The folder of what is built."""
    return cache_root() / key() / "bin"


def images() -> Path:
    return cache_root() / "images"


def state() -> Path:
    """Certificates, data, logs, sockets (which may have 107 letters at most) of the running cluster."""
    return Path(tempfile.gettempdir(), f"farm-kubernetes-{os.getuid()}")


def kubeconfig(inside: bool = False) -> Path:
    """For a client on this machine, or for one inside the cluster's network."""
    return state() / "kubeconfig" / ("admin-inside" if inside else "admin")
