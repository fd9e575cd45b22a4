"""The few calls of a cluster's API that pods need. How to sign in is left to the official client."""

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from executors.errors import Lost, ProviderError, Refused, SoldOut, Throttled
from executors.kubernetes.options import KubernetesOptions

Object = dict[str, Any]

CONNECT_S, READ_S = 5.0, 20.0
PAGE = 500
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Missing(ProviderError):
    """404."""


class Exists(ProviderError):
    """409 AlreadyExists."""


class Conflict(Throttled):
    """409 of another kind: two requests met, or the object is not the one that was meant."""


def remedy(status: int, said: Mapping[str, Any]) -> ProviderError:
    """The error of an answer, by what to do next. `said` is the API's Status object."""
    reason, message = said.get("reason", ""), said.get("message") or f"the cluster answered with status {status}"
    if status == 409 and reason == "AlreadyExists":
        return Exists(message)
    if status == 403 and "exceeded quota" in message:
        return SoldOut(message)
    if status == 409:
        return Conflict(message)
    if status in (429, 503):
        return Throttled(message)
    if status >= 500:  # it may have happened all the same
        return Lost(message)
    if status == 404:
        return Missing(message)
    if status == 401:
        return Refused(f"the cluster does not accept these credentials: {message}")
    return Refused(message)


class Api:
    """One cluster, one namespace. Connects with its first call; may be used by several threads."""

    def __init__(self, options: KubernetesOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._client: Any = None
        self._namespace = options.namespace

    # ── calls ────────────────────────────────────────────────────────────────────────────────────

    def create(self, kind: str, body: Object) -> Object:
        """`kind` in the plural: pods. Raises Exists, and as all of these a ProviderError."""
        return self._call("POST", self._core(kind), body=body)

    def get(self, kind: str, name: str) -> Object:
        """Raises Missing."""
        return self._call("GET", self._core(kind, name))

    def find(self, group: str, kind: str, name: str) -> Object:
        """An object of a named group, as apps/v1 deployments farm. Raises Missing."""
        return self._call("GET", f"/apis/{group}/namespaces/{self.namespace()}/{kind}/{quote(name, safe='')}")

    def delete(self, kind: str, name: str, uid: str = "") -> None:
        """Already gone is fine. With `uid` only that very object."""
        body: Object = {"propagationPolicy": "Background"} | ({"preconditions": {"uid": uid}} if uid else {})
        with contextlib.suppress(Missing, Conflict):
            self._call("DELETE", self._core(kind, name), body=body)

    def pods(self, selector: str) -> tuple[list[Object], str]:
        """All of them as they are now, and the version from which to watch."""
        found: list[Object] = []
        query = {"labelSelector": selector, "limit": str(PAGE)}
        while True:
            page = self._call("GET", self._core("pods"), query)
            found += page["items"]
            if not page["metadata"].get("continue"):
                return found, page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"]["continue"]

    def watch(self, selector: str, version: str, seconds: int) -> "Watch":
        """What happens to these pods from now on, for at most `seconds`."""
        query = {
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "watch": "true",
        }
        return Watch(self._request("GET", self._core("pods"), query, None, seconds + 10))

    def namespace(self) -> str:
        self._connected()
        return self._namespace

    # ── below ────────────────────────────────────────────────────────────────────────────────────

    def _core(self, *rest: str) -> str:
        return "/".join(("/api/v1/namespaces", *(quote(part, safe="") for part in (self.namespace(), *rest))))

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Object | None = None
    ) -> Object:
        with _answers():
            answer = self._request(method, path, query, body, READ_S)
            return _json(answer.read())

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, seconds: float
    ) -> Any:
        import urllib3

        client = self._connected()
        where = client.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": "application/json", "User-Agent": "elastic-farm", **_signed(client)}
        with _answers():
            answer = client.rest_client.pool_manager.request(
                method,
                where,
                body=json.dumps(body) if body is not None else None,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=seconds),
                preload_content=False,
            )
            if answer.status >= 400:
                raise remedy(answer.status, _json(answer.read()))
            return answer

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client, here = _connect(self._options)
                self._namespace = self._namespace or here
            return self._client


class Watch:
    """Events (what, pod) as they come; iterating ends with the watch. `close` ends it from another thread."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        """Raises Lost when the cluster falls silent, else what it says is wrong."""
        with _answers():
            for line in _lines(self._answer.stream(1 << 16, decode_content=True)):
                event = _json(line)
                what, found = event.get("type"), event.get("object")
                if not isinstance(what, str) or not isinstance(found, dict):
                    raise Lost("the cluster's answer was torn")
                if what == "ERROR":
                    raise remedy(int(found.get("code", 500)), found)
                yield what, found

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it may have ended by itself
            self._answer.shutdown()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _json(text: bytes) -> Object:
    try:
        found = json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace")[:400]} if text.strip() else {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _answers() -> Iterator[None]:
    """No answer, or half of one: nobody knows what became of the call."""
    import urllib3

    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: the socket was closed meanwhile
        raise Lost(f"the cluster does not answer: {error}") from error


def _signed(client: Any) -> dict[str, str]:
    settings = client.configuration.auth_settings().values()  # renews tokens that are about to end
    return {s["key"]: s["value"] for s in settings if s["in"] == "header" and s["value"]}


def _connect(options: KubernetesOptions) -> tuple[Any, str]:
    """A client and the namespace one is in. Raises Refused."""
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException
    from yaml import YAMLError  # type: ignore[import-untyped]

    settings = client.Configuration()
    settings.retries = False
    inside = not options.kubeconfig and not options.context and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if inside and (ACCOUNT / "token").exists():
            config.load_incluster_config(client_configuration=settings)
            here = (ACCOUNT / "namespace").read_text().strip()
        else:
            here = _outside(options, settings)
    except (ConfigException, YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise Refused(_no_way(options, error)) from error  # the client takes files of another shape to pieces as it may
    return client.ApiClient(settings), here


def _no_way(options: KubernetesOptions, error: Exception) -> str:
    file = options.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    why = " ".join(str(error).split()).rstrip(".")[:300]
    remedy = "name a file that kubectl takes, and one of its contexts, by kubeconfig and context of the pool's options"
    return f"there is no way to a cluster by {file}: {why}; {remedy}"


def _outside(options: KubernetesOptions, settings: Any) -> str:
    from kubernetes import config

    file = os.path.expanduser(options.kubeconfig) or None
    context = options.context or None
    config.load_kube_config(file, context, settings, persist_config=False)
    contexts, active = config.list_kube_config_contexts(file)
    chosen = next((c for c in contexts if c["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")
