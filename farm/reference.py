"""`17`, `17.3`, `17.3.2`: a job, its task, that task's attempt."""

import re
from typing import NamedTuple

from farm.refusal import Refusal

_FORM = re.compile(r"([1-9][0-9]{0,17})(?:\.([1-9][0-9]{0,17})(?:\.([1-9][0-9]{0,17}))?)?")


class Reference(NamedTuple):
    job: int
    number: int | None = None
    ordinal: int | None = None

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


def parse_reference(text: str) -> Reference:
    """Raises Refusal for anything else."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise Refusal(
            f"{text[:100]!r} names no job or task", remedy="write 17 for a job, 17.3 for a task; see `farm jobs`"
        )
    job, number, ordinal = match.groups()
    return Reference(int(job), int(number) if number else None, int(ordinal) if ordinal else None)
