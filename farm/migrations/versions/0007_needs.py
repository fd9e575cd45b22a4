"""What tasks need beside slots, what executors offer, and what an attempt was given"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_WAITS = "state = 'ready' AND held = 0"
_TURN = ["lane", "owner", "due", "job"]
_STEP = ["ordinal", "slots", "next", "total", "early", "state", "held"]
_TASK = ["number", "slots", "not_before", "state", "held"]


def upgrade() -> None:
    for table in ("step", "task"):
        op.add_column(table, sa.Column("needs", sa.String(), nullable=False, server_default=""))
    op.add_column("attempt", sa.Column("given", sa.String()))
    op.add_column("executor", sa.Column("offer", sa.String(), nullable=False, server_default=""))
    for table, columns in (("step", _STEP), ("task", _TASK)):
        op.drop_index(f"{table}_waiting", table)
        _index(f"{table}_waiting", table, [*_TURN, *columns, "needs"], f"{_WAITS} AND needs = ''")
        _index(f"{table}_needy", table, ["needs", *_TURN, *columns], f"{_WAITS} AND needs <> ''")
    _index("attempt_given", "attempt", ["executor", "given", "finished"], "finished IS NULL AND given IS NOT NULL")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
