"""What of a job has an executor now, found without looking at all that has ended."""

from typing import Any

from sqlalchemy import bindparam, select

from farm import tables as t

NUMBERS: Any = select(t.Attempt.number).where(t.Attempt.job == bindparam("j"), t.Attempt.finished.is_(None))
