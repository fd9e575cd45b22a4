"""Retry budgets by cause, and quarantine"""

import sqlalchemy as sa
from alembic import op

import farm.tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("executor", sa.String(), nullable=False),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("at", farm.tables.Utc(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("executor"),
    )
    op.create_index("quarantine_pool", "quarantine", ["pool", "at"])
    op.add_column("step", sa.Column("licence_exit", sa.BigInteger(), nullable=True))
    op.add_column("step", sa.Column("licence_wait_s", sa.Double(), nullable=False, server_default="0"))
    for name in ("licences", "grown", "memory"):
        op.add_column("task", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    for name in ("licence_since", "not_before"):
        op.add_column("task", sa.Column(name, farm.tables.Utc(), nullable=True))
    op.add_column("task", sa.Column("failed_on", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("executor", sa.Column("suspect", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("executor", sa.Column("quarantined", farm.tables.Utc(), nullable=True))


def downgrade() -> None:
    for name in ("quarantined", "suspect"):
        op.drop_column("executor", name)
    for name in ("failed_on", "not_before", "licence_since", "memory", "grown", "licences"):
        op.drop_column("task", name)
    for name in ("licence_wait_s", "licence_exit"):
        op.drop_column("step", name)
    op.drop_table("quarantine")
