"""Tokens, joins, holds and who did what: a farm that others can reach"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _access()
    _joining()
    _acts()
    _asking()


def _access() -> None:
    """Tokens of people and machines."""
    op.create_table(
        "token",
        sa.Column("id", sa.String(), primary_key=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("hash", "kind", "owner", "name")),
        sa.Column("scopes", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("pool", "executor")),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in ("expires", "used", "revoked")),
    )
    op.create_index("token_executor", "token", ["executor"])


def _joining() -> None:
    """Machines that join from elsewhere."""
    op.create_table(
        "joined",
        sa.Column("executor", sa.String(), primary_key=True),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("nonce", "host", "python", "ray")),
    )
    op.create_table(
        "join_failure",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("pool", "executor", "host", "what")),
    )
    op.create_index("join_failure_pool", "join_failure", ["pool", "id"])


def _acts() -> None:
    """What people hold, set and stop, and why. What is held leaves the indexes of what waits."""
    rowid = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "act",
        sa.Column("id", rowid, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("who", "verb", "kind", "name", "why")),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    op.create_index("act_about", "act", ["kind", "name"])
    op.create_table(
        "hold",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("act", rowid, sa.ForeignKey("act.id"), nullable=False),
    )
    op.add_column("job", sa.Column("deadline", sa.BigInteger()))
    op.add_column("step", sa.Column("early", sa.BigInteger(), nullable=False, server_default="0"))
    for table in ("step", "task"):
        op.add_column(table, sa.Column("held", sa.BigInteger(), nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET held = 1 WHERE job IN (SELECT id FROM job WHERE state = 'held')")
        op.drop_index(f"{table}_waiting", table)
    op.execute(
        "INSERT INTO act (at, who, verb, kind, name, why, details)"
        " SELECT submitted, owner, 'hold', 'job', CAST(id AS VARCHAR), '', '{}' FROM job WHERE state = 'held'"
    )
    op.drop_index("step_due", "step")
    waits = sa.text("state = 'ready' AND held = 0")
    turn = ["lane", "owner", "due", "job"]
    size = [*turn, "ordinal", "slots", "next", "total", "early", "state", "held"]
    task = [*turn, "number", "slots", "not_before", "state", "held"]
    for name, table, columns in (
        ("task_waiting", "task", task),
        ("step_waiting", "step", size),
        ("step_due", "step", ["due"]),
    ):
        op.create_index(name, table, columns, sqlite_where=waits, postgresql_where=waits)


def _asking() -> None:
    """What was asked under a key of its own, and answered: asked again it gets the same answer."""
    op.create_table(
        "asked",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_index("asked_at", "asked", ["at"])
