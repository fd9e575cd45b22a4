"""A pod for one executor, and the secret with its invitation: plain objects, nothing is asked here."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executors.contract import Order, Surroundings
from executors.kubernetes.options import LEAST_DISK, KubernetesOptions

Object = dict[str, Any]

FARM, POOL, EXECUTOR, ORDER = (f"elastic-farm/{name}" for name in ("farm", "pool", "executor", "order"))
SLOTS = "elastic-farm/slots"
CONTAINER = "executor"
FOLDER = "/run/farm"  # where the secret is mounted
WRITABLE = {"HOME": "/tmp", "TMPDIR": "/tmp", "FARM_FOLDER": "/tmp/farm"}  # nothing else is
KEPT_FROM_EVICTION = {  # work is not moved while it runs; who is idle goes by itself
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
UNPRIVILEGED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True)
class Identity:
    """How the pods of one pool of one farm are named and found; two farms may share a namespace."""

    farm: str
    pool: str

    def name(self, executor: str) -> str:
        """The same for the same executor, always: a pod that is made twice is there already."""
        mark = hashlib.sha256(f"{self.farm}\n{self.pool}".encode()).hexdigest()[:6]
        slug = re.sub(r"[^a-z0-9]+", "-", self.pool.lower()).strip("-")[:24].strip("-") or "pool"
        return f"farm-{slug}-{mark}-{executor}"

    def labels(self) -> dict[str, str]:
        return {FARM: label(self.farm), POOL: label(self.pool)}

    def selector(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.labels().items())


def label(value: str) -> str:
    """`value` where it can be a label, else its digest."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value):
        return value
    return hashlib.sha256(value.encode()).hexdigest()[:40]


def pod(executor: str, order: Order, options: KubernetesOptions, around: Surroundings, owner: Object | None) -> Object:
    """The pod as the API takes it. `owner` is an owner reference."""
    slots = order.slots or options.slots
    identity = Identity(around.farm, around.pool)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": identity.name(executor),
            "labels": _labels(identity, executor, order, options),
            "annotations": {**KEPT_FROM_EVICTION, **options.annotations, SLOTS: str(slots)},
            **({"ownerReferences": [owner]} if owner else {}),
        },
        "spec": {
            **_lifetime(options),
            **_whereabouts(options),
            **_rights(options),
            "containers": [_container(slots, options, around)],
            "volumes": _volumes(identity.name(executor), options),
        },
    }


def _labels(identity: Identity, executor: str, order: Order, options: KubernetesOptions) -> dict[str, str]:
    common = {
        "app.kubernetes.io/name": "farm",
        "app.kubernetes.io/component": "executor",
        "app.kubernetes.io/managed-by": "farm",
    }
    return {**common, **options.labels, **identity.labels(), EXECUTOR: executor, ORDER: order.token}


def _lifetime(options: KubernetesOptions) -> Object:
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": options.deadline_s,
        "terminationGracePeriodSeconds": options.grace_s,
    }


def _whereabouts(options: KubernetesOptions) -> Object:
    asked: Object = {}
    if options.node_selector:
        asked["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        asked["tolerations"] = [dict(t) for t in options.tolerations]
    if options.priority_class:
        asked["priorityClassName"] = options.priority_class
    if options.image_pull_secrets:
        asked["imagePullSecrets"] = [{"name": name} for name in options.image_pull_secrets]
    return asked


def _rights(options: KubernetesOptions) -> Object:
    """What the namespace level `restricted` asks for, and no way to the cluster's API."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": options.service_account} if options.service_account else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": options.user,
            "runAsGroup": options.user,
            "fsGroup": options.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _container(slots: int, options: KubernetesOptions, around: Surroundings) -> Object:
    return {
        "name": CONTAINER,
        "image": around.image,
        "imagePullPolicy": options.image_pull_policy,
        "command": list(options.command) or ["sh", f"{FOLDER}/start"],
        "workingDir": "/tmp",
        "env": [{"name": name, "value": value} for name, value in WRITABLE.items()],
        "securityContext": UNPRIVILEGED,
        "resources": {
            "requests": {"cpu": options.cpu or str(slots), "memory": options.memory, "ephemeral-storage": LEAST_DISK},
            "limits": {"memory": options.memory, "ephemeral-storage": options.disk},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "farm", "mountPath": FOLDER, "readOnly": True},
        ],
    }


def _volumes(secret: str, options: KubernetesOptions) -> list[Object]:
    return [
        {"name": "tmp", "emptyDir": {"sizeLimit": options.disk}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
        {"name": "farm", "secret": {"secretName": secret, "defaultMode": 0o400}},
    ]


def secret(pod: Object, texts: Mapping[str, str]) -> Object:
    """What the pod mounts; it goes with the pod."""
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": meta["name"], "labels": meta["labels"], "ownerReferences": [owner]},
        "immutable": True,
        "stringData": dict(texts),
    }
