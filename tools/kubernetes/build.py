"""Builds Kubernetes, etcd and Helm from Go modules: about 16 minutes of one core, once."""

import os
import subprocess
from pathlib import Path

from tools.kubernetes import place

KUBERNETES = "v1.36.3"
FLAGS = ["-mod=readonly", "-buildvcs=false", "-trimpath"]
DAEMONS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"]


def build() -> Path:
    """The folder of the cluster's programs; quick when they are there."""
    folder = place.programs()
    for daemon in DAEMONS:
        _go("kube", f"k8s.io/kubernetes/cmd/{daemon}", folder / daemon, _stamp())
    _go("etcd", "go.etcd.io/etcd/server/v3", folder / "etcd")
    _go("pause", ".", folder / "pause")
    return folder


def helm() -> Path:
    """The program `helm`, which only the chart needs; quick when it is there."""
    target = place.programs() / "helm"
    if not target.exists():
        version = _version("helm", "helm.sh/helm/v4")
        _go("helm", "helm.sh/helm/v4/cmd/helm", target, f"-X helm.sh/helm/v4/internal/version.version={version}")
    return target


def _go(module: str, package: str, target: Path, stamp: str = "") -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    subprocess.run(
        ["nice", "-n", "10", "go", "build", "-ldflags", f"-s -w {stamp}", "-o", str(fresh), package],
        cwd=place.HERE / "go" / module,
        env=_environment(),
        check=True,
    )
    fresh.replace(target)


def _environment() -> dict[str, str]:
    return os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": " ".join(FLAGS), "GOWORK": "off"}


def _stamp() -> str:
    """The version in both places, or the API says v0.0.0-master."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    facts = {
        "gitVersion": KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "tests",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in facts.items())


def _version(module: str, name: str) -> str:
    found = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Version}}", name],
        cwd=place.HERE / "go" / module,
        env=_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()
