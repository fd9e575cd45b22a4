"""Executors as pods of a Kubernetes cluster, beside the farm or far from it."""

from collections.abc import Mapping
from typing import Any

from executors.contract import Provider, Surroundings
from executors.kubernetes.options import KubernetesOptions
from executors.options import checked

NETWORK = "outbound"  # a pod reaches the farm; the farm never reaches a pod


def provider(options: Mapping[str, Any], around: Surroundings) -> Provider:
    """No cluster is asked yet. Raises Refused when an option is unknown or makes no sense."""
    from executors.kubernetes.pods import Pods

    return Pods(checked(KubernetesOptions, options, "kubernetes"), around)
