"""Executors on EC2, or on any cloud that speaks its interface. Thin: one instance type list, one subnet, on demand."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from executors.contract import Surroundings
from executors.ec2.settings import settings

if TYPE_CHECKING:
    from executors.ec2.rental import Ec2Provider

NETWORK = "outbound"  # how its executors reach the farm, unless a pool says otherwise


def provider(options: Mapping[str, Any], around: Surroundings) -> "Ec2Provider":
    """Raises Refused when an option is unknown, missing or makes no sense. Nothing is asked of the cloud yet."""
    from executors.ec2.cloud import Cloud
    from executors.ec2.rental import Ec2Provider

    chosen = settings(options, around)
    return Ec2Provider(chosen, around, Cloud(chosen, around))
