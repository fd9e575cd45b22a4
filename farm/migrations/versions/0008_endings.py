"""What attempts have that have ended for the farm, and not yet where they run"""

import sqlalchemy as sa
from alembic import op

import farm.tables

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ending",
        *(sa.Column(name, sa.BigInteger(), primary_key=True, autoincrement=False) for name in _KEY),
        sa.Column("executor", sa.String(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("given", sa.String()),
        sa.Column("licences", sa.JSON()),
        sa.Column("since", farm.tables.Utc(), nullable=False),
        sa.Column("asked", farm.tables.Utc(), nullable=False),
    )


_KEY = ("job", "number", "ordinal")
