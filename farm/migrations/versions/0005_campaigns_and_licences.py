"""Tasks that need each other take the longest path or the shortest task first; licences are counted"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("step", sa.Column("licences", sa.JSON(none_as_null=True)))
    op.add_column("task", sa.Column("predicted_s", sa.Double()))
    op.add_column("task", sa.Column("path_s", sa.Double()))
    op.add_column("task", sa.Column("lead", sa.String()))
    short = sa.text("state = 'ready' AND held = 0 AND path_s IS NOT NULL")
    taken = sa.text("state = 'running' AND lead IS NOT NULL")
    for name, columns, where in (
        ("task_short", ["job", "step", "predicted_s", "number"], short),
        ("task_lead", ["job", "step", "lead"], taken),
    ):
        op.create_index(name, "task", columns, sqlite_where=where, postgresql_where=where)
