"""Certificates, tokens and kubeconfigs of one life of the cluster."""

import base64
import json
import secrets
import subprocess
from pathlib import Path

from tools.kubernetes import place

HOSTS = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
ADDRESSES = ["127.0.0.1", place.NODE_IP, place.SERVICE_IP]
USERS = {  # kubeconfig → user, groups
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{place.NODE}", "system:nodes"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", "system:node-proxier"),
}


def write() -> None:
    folder = place.state() / "pki"
    folder.mkdir(mode=0o700)
    _authority(folder)
    names = ",".join([*(f"DNS:{h}" for h in HOSTS), *(f"IP:{a}" for a in ADDRESSES)])
    _certificate(folder, "apiserver", "/CN=kube-apiserver", f"subjectAltName={names}")
    _certificate(folder, "kubelet-client", "/O=system:masters/CN=apiserver-kubelet", "extendedKeyUsage=clientAuth")
    node = f"subjectAltName=DNS:{place.NODE},IP:{place.NODE_IP}"
    _certificate(folder, "kubelet", f"/O=system:nodes/CN=system:node:{place.NODE}", node)
    _openssl(folder, "genrsa", "-out", "accounts.key", "2048")
    _openssl(folder, "rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
    _tokens(folder)


def admin_token() -> str:
    return (place.state() / "pki" / "tokens.csv").read_text().partition(",")[0]


def authority() -> str:
    return (place.state() / "pki" / "ca.crt").read_text()


def _authority(folder: Path) -> None:
    uses = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    extensions = [word for use in uses for word in ("-addext", use)]
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt"]
    _openssl(folder, *made, "-days", str(place.LIFE_DAYS), "-subj", "/CN=cluster-for-tests", *extensions)


def _certificate(folder: Path, name: str, subject: str, extension: str) -> None:
    request = [
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        f"{name}.key",
        "-subj",
        subject,
        "-out",
        f"{name}.csr",
    ]
    _openssl(folder, *request)
    (folder / f"{name}.ext").write_text(extension)
    signed = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    _openssl(folder, *signed, "-days", str(place.LIFE_DAYS), "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def _tokens(folder: Path) -> None:
    lines = []
    (place.state() / "kubeconfig").mkdir(mode=0o700)
    for name, (user, group) in USERS.items():
        token = secrets.token_hex(16)
        lines.append(f"{token},{user},{name},{group}".rstrip(","))
        _kubeconfig(name, token, place.INSIDE)
        if name == "admin":
            _kubeconfig("admin-inside", token, place.INSIDE)
            _kubeconfig("admin", token, place.OUTSIDE)
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")


def _kubeconfig(name: str, token: str, server: str) -> None:
    ca = base64.b64encode(authority().encode()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
        "current-context": "tests",
    }
    file = place.state() / "kubeconfig" / name
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))  # JSON is YAML
