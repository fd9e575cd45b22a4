"""What a pool of pods can be told."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from executors.options import Options

WEEK_S = 7 * 86400


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
    cpu: str = ""  # asked for; as many cores as slots when not given
    memory: str = "2Gi"  # asked for, and the limit
    disk: str = "10Gi"  # /tmp, all that it can write to
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
