"""Up and down."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.kubernetes import images, papers, place, space
from tools.kubernetes.build import build
from tools.kubernetes.place import Trouble

NEEDED = {  # program → Debian package
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "openssl": "openssl",
    "nsenter": "util-linux",
}
PLUGINS = "containernetworking-plugins"
FOLDERS = ["pid", "log", "conf", "cni", "etcd", "kubelet"]


def up() -> None:
    """The cluster, ready for pods. Repeating it restarts what died. Raises Trouble."""
    if os.geteuid() != 0:
        raise Trouble("the cluster needs root: it makes namespaces")
    with _alone():
        _packages()
        programs = build()
        if space.first() is None:
            _begin()
        _daemons(programs)


def down() -> None:
    """Nothing is left of it but what was built."""
    with _alone():
        state = place.state()
        if state.exists():
            space.close()
            _end_relay()
            _control_groups()
            shutil.rmtree(state)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    place.cache_root().mkdir(parents=True, exist_ok=True)
    with open(place.cache_root() / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _packages() -> None:
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if not _plugins():
        missing.append(PLUGINS)
    if not missing:
        return
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    sys.stderr.write(f"installing {' '.join(missing)}\n")
    subprocess.run(["apt-get", "-qq", "update"], env=env, check=False, stdout=sys.stderr)
    words = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing]
    if subprocess.run(words, env=env, check=False, stdout=sys.stderr).returncode:
        raise Trouble(f"please install: {' '.join(missing)}")


def _plugins() -> str:
    """The folder of the network plug-ins, wherever its package puts them."""
    told = subprocess.run(["dpkg", "-L", PLUGINS], capture_output=True, text=True, check=False).stdout
    return next((str(Path(line).parent) for line in told.splitlines() if line.endswith("/host-local")), "")


def _begin() -> None:
    state = place.state()
    if state.exists():  # of a life that was ended from outside
        _end_relay()
        _control_groups()
        shutil.rmtree(state)
    state.mkdir(mode=0o700)
    for name in FOLDERS:
        (state / name).mkdir()
    (state / "resolv.conf").touch()
    papers.write()
    facts = {
        "STATE": state,
        "NODE": place.NODE,
        "NODE_IP": place.NODE_IP,
        "POD_NET": place.POD_NET,
        "CNI_BIN": _plugins(),
    }
    for file in (place.HERE / "conf").iterdir():
        text = file.read_text()
        for name, value in facts.items():
            text = text.replace(f"@{name}@", str(value))
        (state / ("cni" if file.suffix == ".conflist" else "conf") / file.name).write_text(text)
    space.open_()


def _daemons(programs: Path) -> None:
    state = place.state()
    space.daemon("etcd", [str(programs / "etcd"), *_etcd(state)])
    space.daemon("containerd", ["containerd", "-c", str(state / "conf" / "containerd.toml")])
    space.daemon("kube-apiserver", [str(programs / "kube-apiserver"), *_apiserver(state / "pki")])
    _relay()
    space.until("the API", 90, lambda: _get("/readyz") is not None)
    space.daemon("kube-controller-manager", [str(programs / "kube-controller-manager"), *_controllers(state)])
    space.daemon("kube-scheduler", [str(programs / "kube-scheduler"), *_signed_in(state, "scheduler"), *_leader(10259)])
    space.until("containerd", 20, images.answers)
    images.basics(programs)
    space.daemon("kubelet", [str(programs / "kubelet"), *_kubelet(state)])
    space.daemon("kube-proxy", [str(programs / "kube-proxy"), f"--config={state}/conf/kube-proxy.yaml"])
    space.until("a ready node", 60, _ready)


def _etcd(state: Path) -> list[str]:
    clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    mine = [f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}", f"--listen-peer-urls={peers}"]
    ring = [f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}"]
    return [f"--data-dir={state}/etcd", *mine, *ring, "--unsafe-no-fsync"]


def _apiserver(pki: Path) -> list[str]:
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--bind-address={place.NODE_IP}",
        f"--advertise-address={place.NODE_IP}",
        f"--secure-port={place.API_PORT}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--cert-dir={pki}",
        f"--service-cluster-ip-range={place.SERVICE_NET}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/accounts.pub",
        f"--service-account-signing-key-file={pki}/accounts.key",
        f"--token-auth-file={pki}/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    ]


def _signed_in(state: Path, who: str) -> list[str]:
    flags = ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"]
    return [f"{flag}={state}/kubeconfig/{who}" for flag in flags]


def _leader(port: int) -> list[str]:
    return ["--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={port}"]


def _controllers(state: Path) -> list[str]:
    unneeded = ["node-ipam", "cloud-node-lifecycle", "node-route", "service-lb"]
    return [
        *_signed_in(state, "controllers"),
        *_leader(10257),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={state}/pki/accounts.key",
        f"--root-ca-file={state}/pki/ca.crt",
        f"--controllers=*,{','.join(f'-{name}-controller' for name in unneeded)}",
        "--node-monitor-grace-period=16s",
        "--node-monitor-period=2s",
    ]


def _kubelet(state: Path) -> list[str]:
    return [
        f"--config={state}/conf/kubelet.yaml",
        f"--kubeconfig={state}/kubeconfig/kubelet",
        f"--hostname-override={place.NODE}",
        f"--node-ip={place.NODE_IP}",
        f"--root-dir={state}/kubelet",
        f"--cert-dir={state}/pki/kubelet-dir",
        f"--tls-cert-file={state}/pki/kubelet.crt",
        f"--tls-private-key-file={state}/pki/kubelet.key",
        "--node-labels=farm=yes",
    ]


def _relay() -> None:
    if space.noted("relay") is None:
        words = [sys.executable, "-m", "tools.kubernetes.relay", str(space.first())]
        with open(place.state() / "log" / "relay", "ab") as log:
            relay = subprocess.Popen(
                words,
                cwd=place.HERE.parents[1],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        space.note("relay", relay.pid)


def _end_relay() -> None:
    pid = space.noted("relay")
    if pid is not None and b"tools.kubernetes.relay" in Path(f"/proc/{pid}/cmdline").read_bytes():
        os.kill(pid, signal.SIGTERM)


def _get(path: str) -> Any | None:
    """An object of the API; None while there is none."""
    trust = ssl.create_default_context(cadata=papers.authority())
    request = urllib.request.Request(place.OUTSIDE + path, headers={"Authorization": f"Bearer {papers.admin_token()}"})
    try:
        with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
            text = answer.read()
    except OSError:
        return None
    return json.loads(text) if text.startswith(b"{") else text


def _ready() -> bool:
    node = _get(f"/api/v1/nodes/{place.NODE}") or {}
    account = _get("/api/v1/namespaces/default/serviceaccounts/default")  # without it no pod is admitted
    conditions: Sequence[Any] = node.get("status", {}).get("conditions", ())
    return account is not None and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _control_groups() -> None:
    for root in Path("/sys/fs/cgroup").glob("*"):
        for group in (root / "kubepods", root / "k8s.io"):
            for folder in sorted(group.rglob("*/"), key=lambda f: -len(f.parts)) if group.is_dir() else ():
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
