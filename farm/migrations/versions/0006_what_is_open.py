"""What is open or went wrong is found without all that has ended; durations of what runs no more can be forgotten"""

import sqlalchemy as sa
from alembic import op

import farm.tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("duration", sa.Column("noticed", sa.BigInteger()))
    op.add_column("duration", sa.Column("at", farm.tables.Utc()))
    op.create_index("executor_job", "executor", ["job"])
    for name, table, columns, condition in (
        ("attempt_open", "attempt", ["job", "number"], "finished IS NULL"),
        ("task_open", "task", ["job", "step", "state"], "state IN ('blocked', 'ready')"),
        ("task_bad", "task", ["job", "state", "number"], "state IN ('failed', 'cancelled', 'skipped')"),
    ):
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
