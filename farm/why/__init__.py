"""Why something is as it is: cause, rule, numbers, next event, as data; a sentence made of them."""

from farm.why.answer import Why
from farm.why.attempt import attempt
from farm.why.cause import Cause
from farm.why.executor import executor
from farm.why.look import Look
from farm.why.pool import pool
from farm.why.work import job, task

__all__ = ["Cause", "Look", "Why", "attempt", "executor", "job", "pool", "task"]
