"""Decisions are kept by what is new in them, packed"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision", sa.Column("base", sa.BigInteger()))
    op.add_column("decision", sa.Column("packed", sa.LargeBinary()))
