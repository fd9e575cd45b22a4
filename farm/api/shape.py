"""What every shape of an answer is."""

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """At least these fields."""

    model_config = ConfigDict(extra="allow")
