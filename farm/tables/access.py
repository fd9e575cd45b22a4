"""Who may do what, who did what, and what came from elsewhere."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from farm.tables.base import ROWID, Base


class Act(Base):
    """Append-only: what a person held, released, set, drained or stopped, and why."""

    __tablename__ = "act"
    __table_args__ = (Index("act_about", "kind", "name"),)
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str]
    verb: Mapped[str]  # hold, release, set, drain, stop-spending, resume-spending
    kind: Mapped[str]  # job, lane, pool, executor, spending
    name: Mapped[str]
    why: Mapped[str]
    details: Mapped[Mapping[str, Any]]  # of set: name → [before, after]


class Hold(Base):
    """What is held now, by which act. A held job is in this state itself, and not here."""

    __tablename__ = "hold"
    kind: Mapped[str] = mapped_column(primary_key=True)  # lane, pool, spending
    name: Mapped[str] = mapped_column(primary_key=True)
    act: Mapped[int] = mapped_column(ForeignKey("act.id"))


class Pushed(Base):
    """A push that was taken in: told twice (by the hook and by its spool) it makes one job."""

    __tablename__ = "pushed"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    event: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
    answer: Mapped[Mapping[str, Any]]


class Token(Base):
    """What a person or a machine shows instead of a password; of its secret only a hash."""

    __tablename__ = "token"
    __table_args__ = (Index("token_executor", "executor"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[str]  # sha256 in hex
    kind: Mapped[str]  # person, machine, join, standby
    owner: Mapped[str] = mapped_column(default="")
    name: Mapped[str] = mapped_column(default="")
    scopes: Mapped[list[Any]]
    pool: Mapped[str] = mapped_column(default="")
    executor: Mapped[str] = mapped_column(default="")
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(default="")
    expires: Mapped[datetime | None]
    used: Mapped[datetime | None]  # to the minute
    revoked: Mapped[datetime | None]


class Joined(Base):
    """An executor from elsewhere whose secret was exchanged: once, by whoever sent this nonce."""

    __tablename__ = "joined"
    executor: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str]
    at: Mapped[datetime]
    nonce: Mapped[str]  # sha256 in hex: who lost the answer may ask again, and nobody else
    host: Mapped[str]
    python: Mapped[str]
    ray: Mapped[str]


class JoinFailure(Base):
    """A machine that could not join, as it says itself or as it was told."""

    __tablename__ = "join_failure"
    __table_args__ = (Index("join_failure_pool", "pool", "id"),)
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime]
    pool: Mapped[str]
    executor: Mapped[str]
    host: Mapped[str]
    what: Mapped[str]


class Asked(Base):
    """A request that came under a key of its own, and its answer: repeated after a cut it is not carried out twice."""

    __tablename__ = "asked"
    __table_args__ = (Index("asked_at", "at"),)
    key: Mapped[str] = mapped_column(primary_key=True)  # sha256 in hex of who asked and his key
    request: Mapped[str]  # sha256 in hex of what was asked
    answer: Mapped[Mapping[str, Any]]
    at: Mapped[datetime]
