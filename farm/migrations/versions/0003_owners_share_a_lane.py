"""Owners share a lane; what waits has an index of its own"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_READY = sa.text("state = 'ready'")


def upgrade() -> None:
    op.create_table(
        "owner_fact",
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("virtual_s", sa.Double(), nullable=False),
        sa.Column("backlogged", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("lane", "owner"),
    )
    for table in ("step", "task"):
        for name in ("lane", "owner"):
            op.add_column(table, sa.Column(name, sa.String(), nullable=False, server_default=""))
            op.execute(f"UPDATE {table} SET {name} = (SELECT {name} FROM job WHERE job.id = {table}.job)")
    op.add_column("task", sa.Column("slots", sa.BigInteger(), nullable=False, server_default="1"))
    op.execute(
        "UPDATE task SET slots = (SELECT slots FROM step WHERE step.job = task.job AND step.ordinal = task.step)"
    )
    op.add_column("attempt", sa.Column("step", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE attempt SET step ="
        " (SELECT task.step FROM task WHERE task.job = attempt.job AND task.number = attempt.number)"
    )
    op.drop_index("task_ready", "task")
    op.drop_index("step_ready", "step")
    turn = ["lane", "owner", "due", "job"]
    _index("task_waiting", "task", [*turn, "number", "slots", "not_before", "state"])
    _index("step_waiting", "step", [*turn, "ordinal", "slots", "next", "total", "state"])
    _index("step_due", "step", ["due"])


def _index(name: str, table: str, columns: list[str]) -> None:
    op.create_index(name, table, columns, sqlite_where=_READY, postgresql_where=_READY)


def downgrade() -> None:
    op.drop_index("step_due", "step")
    op.drop_index("step_waiting", "step")
    op.drop_index("task_waiting", "task")
    op.create_index("task_ready", "task", ["state", "due"])
    op.create_index("step_ready", "step", ["state", "due"])
    op.drop_column("attempt", "step")
    for name in ("slots", "owner", "lane"):
        op.drop_column("task", name)
    for name in ("owner", "lane"):
        op.drop_column("step", name)
    op.drop_table("owner_fact")
