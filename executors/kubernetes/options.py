"""What a pool of pods can be told."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from executors.options import Options

WEEK_S = 7 * 86400
LEAST_DISK = "100Mi"  # for an executor's own files; asked for, so that a node has them
_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FORM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:([KMGTPE])i|([numkMGTPE]?)|[eE]([+-]?\d{1,2}))")


def amount(text: str) -> Decimal:
    """A quantity of Kubernetes, as 500m or 10Gi. Raises ValueError."""
    if not (found := _FORM.fullmatch(text)):
        raise ValueError(f"{text[:40]!r} is no quantity; write it like 500m, 2, 512Mi or 10Gi")
    number, binary, decimal, exponent = found.groups()
    if binary:
        return Decimal(number) * Decimal(1024) ** (1 + "KMGTPE".index(binary))
    return Decimal(number).scaleb(int(exponent) if exponent else _UNITS[decimal or ""])


def _quantity(text: str) -> str:
    if text:
        amount(text)
    return text


def _disk(text: str) -> str:
    if amount(text) < amount(LEAST_DISK):
        raise ValueError(f"{text} is not enough for an executor and its work; say at least {LEAST_DISK}")
    return text


class KubernetesOptions(Options):
    """`slots` per pod where an order does not say; `ceiling` is slots in all, None: what the cluster's quota allows.

    `deadline_s` is the dead man's switch: the cluster ends a pod that is older, whatever became of its farm.
    """

    price_per_hour: Decimal = Decimal(0)
    slots: Annotated[int, Field(ge=1)] = 1
    ceiling: Annotated[int, Field(ge=0)] | None = None

    # which cluster: inside one, its own; else what kubectl would take
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""

    # the pod
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ()  # instead of the one that joins the farm; the invitation is in /run/farm/invitation
    service_account: str = ""  # its token is never mounted
    user: Annotated[int, Field(ge=1)] = 1000
    cpu: Annotated[str, AfterValidator(_quantity)] = ""  # asked for; as many cores as slots when not given
    memory: Annotated[str, AfterValidator(_quantity), Field(min_length=1)] = "2Gi"  # asked for, and the limit
    disk: Annotated[str, AfterValidator(_disk)] = "10Gi"  # /tmp, all that it can write to
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Mapping[str, Any], ...] = ()
    priority_class: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner: str = ""  # KIND/NAME of what takes the pods along when it is deleted, as Deployment/farm

    # patience
    deadline_s: Annotated[int, Field(ge=60)] = WEEK_S
    grace_s: Annotated[int, Field(ge=0)] = 10
    unschedulable_s: Annotated[float, Field(ge=0)] = 120
