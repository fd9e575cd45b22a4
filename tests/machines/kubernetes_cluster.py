"""The real cluster, for as long as tests want it; and a namespace of one's own in it."""

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from executors.kubernetes.api import Api
from executors.kubernetes.options import KubernetesOptions
from tests.contract.yard import eventually
from tools.kubernetes import images, place, space

CHECKOUT = Path(__file__).parents[2]
SHELL = images.SHELL
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@contextmanager
def cluster() -> Iterator[None]:
    """Up while somebody is inside; who leaves last ends it."""
    place.cache_root().mkdir(parents=True, exist_ok=True)
    with open(place.cache_root() / "users", "w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            _tool("up")
            yield
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            if _last(users):
                _tool("down")


def _last(users: IO[str]) -> bool:
    """Whether nobody else is inside; nobody comes in then, until the file is closed."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tool(word: str) -> None:
    """A Ctrl-C at the terminal is not for it: it would leave half of a cluster. Raises Trouble."""
    line = [sys.executable, "-m", "tools.kubernetes", word]
    process = subprocess.Popen(line, cwd=CHECKOUT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if status:
        raise place.Trouble(f"the cluster does not go {word}; the reason is above")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace that takes only pods without rights, and goes with all that is in it."""

    name: str
    api: Api

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """`path` below the namespace, or from the root. Raises a ProviderError."""
        full = path if path.startswith("/") else f"/api/v1/namespaces/{self.name}/{path}"
        return self.api._call(method, full, body=body)

    def pods(self) -> list[Any]:
        return list(self.call("GET", "pods")["items"])

    def left(self) -> list[str]:
        """Pods and secrets, those of Helm not counted."""
        kinds = ("pods", "secrets")
        return [f"{kind}/{o['metadata']['name']}" for kind in kinds for o in self.call("GET", kind)["items"]]

    def apply(self, group: str, kind: str, body: Any) -> Any:
        return self.call("POST", f"/apis/{group}/namespaces/{self.name}/{kind}", body)


@contextmanager
def namespace() -> Iterator[Namespace]:
    name = f"test-{secrets.token_hex(4)}"
    made = Namespace(name, Api(KubernetesOptions(kubeconfig=str(place.kubeconfig()), namespace=name)))
    made.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    eventually(lambda: made.call("GET", "serviceaccounts")["items"])  # before that no pod is admitted
    try:
        yield made
    finally:
        for pod in made.pods():
            made.call("DELETE", f"pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
        made.call("DELETE", f"/api/v1/namespaces/{name}")


def inside(*words: str) -> list[str]:
    """A command line in the cluster's network, where pods can be met."""
    return space.inside(words, mounts=False)


def account(there: Namespace, name: str) -> Path:
    """A kubeconfig of a service account, which has no rights unless it was given some."""
    there.call("POST", "serviceaccounts", {"metadata": {"name": name}})
    request = {"spec": {"expirationSeconds": 3600}}
    token = there.call("POST", f"serviceaccounts/{name}/token", request)["status"]["token"]
    config = json.loads(place.kubeconfig().read_text())
    config["users"][0]["user"]["token"] = token
    file = place.state() / "kubeconfig" / f"{there.name}-{name}"
    file.write_text(json.dumps(config))
    return file
