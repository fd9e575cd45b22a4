"""The options of an ec2 pool."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from executors.contract import Offer, Surroundings
from executors.errors import Refused
from executors.options import Options, checked


class Ec2Options(Options):
    """`instance_types` are tried in this order. Credentials come from where boto3 looks for them, or from `profile`."""

    region: Annotated[str, Field(min_length=1)]
    instance_types: Annotated[tuple[str, ...], Field(min_length=1)]
    image: str = ""  # an AMI, or resolve:ssm:PARAMETER; the pool's own `image` stands in for it
    subnet: str = ""  # without one: the default VPC's
    security_groups: tuple[str, ...] = ()  # ids; no inbound rule is needed
    key_name: str = ""
    profile: str = ""
    endpoint_url: str = ""  # another cloud that speaks the same
    tags: Mapping[str, str] = {}  # more of them, for the bill
    price_per_hour: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    prices: Mapping[str, Decimal] = {}  # by instance type, where they differ
    slots: Annotated[int, Field(ge=1)] = 1
    ceiling: Annotated[int, Field(ge=0)] | None = None  # slots in all

    def offer(self, instance_type: str) -> Offer:
        price = self.prices.get(instance_type, self.price_per_hour)
        return Offer(f"{instance_type}/{self.subnet or self.region}/on-demand", self.slots, price)


def settings(options: Mapping[str, Any], around: Surroundings) -> Ec2Options:
    """The options with the image that is meant. Raises Refused."""
    chosen = checked(Ec2Options, options, "ec2")
    if not (chosen.image or around.image):
        raise Refused('an ec2 pool needs an image, as in image = "ami-0123456789abcdef0"')
    return chosen.model_copy(update={"image": chosen.image or around.image})
