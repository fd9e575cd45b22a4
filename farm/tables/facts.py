"""What the farm remembers for its decisions, and the decisions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from farm.tables.base import ROWID, Base


class PoolFact(Base):
    """What is known of a pool: boot times, its breaker. Hysteresis lives here, never in the policy."""

    __tablename__ = "pool_fact"
    name: Mapped[str] = mapped_column(primary_key=True)
    boots: Mapped[int] = mapped_column(default=0)
    boot_s: Mapped[float] = mapped_column(default=0.0)
    boot_p95_s: Mapped[float] = mapped_column(default=0.0)
    failures: Mapped[int] = mapped_column(default=0)
    breaker_until: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(default="")


class LaneFact(Base):
    """Virtual time of a lane: predicted machine-seconds it was given, divided by its weight.

    The row without a name is the farm's own: where the lane that was served last stood when its turn came.
    """

    __tablename__ = "lane_fact"
    name: Mapped[str] = mapped_column(primary_key=True)
    virtual_s: Mapped[float] = mapped_column(default=0.0)
    backlogged: Mapped[bool] = mapped_column(default=False)  # it still had work waiting after the last claim


class OwnerFact(Base):
    """The same of an owner inside a lane; the row without an owner is the lane's own."""

    __tablename__ = "owner_fact"
    lane: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    virtual_s: Mapped[float] = mapped_column(default=0.0)
    backlogged: Mapped[bool] = mapped_column(default=False)


class Duration(Base):
    """What is known of how long something takes: mean and variance of the logarithm, exponentially forgotten."""

    __tablename__ = "duration"
    what: Mapped[str] = mapped_column(primary_key=True)
    samples: Mapped[int]
    log_mean: Mapped[float]
    log_var: Mapped[float]
    noticed: Mapped[int | None]  # samples there were when the farm looked last whether there are more …
    at: Mapped[datetime | None]  # … and when there were


class DecisionRow(Base):
    """A decision with the snapshot it came from: replayable, by farm.decisions."""

    __tablename__ = "decision"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    snapshot: Mapped[Mapping[str, Any]]  # empty where it is packed
    decision: Mapped[Mapping[str, Any]]
    base: Mapped[int | None]  # the row of which it has parts
    packed: Mapped[bytes | None]


class Built(Base):
    """The last accepted build of a package: what it was made of and what came out."""

    __tablename__ = "built"
    package: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    environment: Mapped[str]
    outputs: Mapped[list[Any]]
    job: Mapped[int]
    number: Mapped[int]
    at: Mapped[datetime]
