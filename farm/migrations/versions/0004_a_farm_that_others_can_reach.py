"""Tokens, joins, holds and who did what: a farm that others can reach"""

import sqlalchemy as sa  # noqa: F401
from alembic import op  # noqa: F401

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _access()
    _joining()
    _acts()


def _access() -> None:
    """Tokens of people and machines."""


def _joining() -> None:
    """Machines that join from elsewhere."""


def _acts() -> None:
    """What people hold, set and stop, and why."""
