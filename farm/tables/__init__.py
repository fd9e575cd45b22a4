"""All tables, typed. Times are microseconds since the epoch in the database, aware UTC datetimes in Python."""

from farm.tables.access import Act, Asked, Hold, Joined, JoinFailure, Pushed, Token
from farm.tables.base import ROWID, STEP_WAITS, TASK_BAD, TASK_OPEN, TASK_WAITS, AnyRow, Base, Utc
from farm.tables.facts import Built, DecisionRow, Duration, LaneFact, OwnerFact, PoolFact
from farm.tables.runs import BY_EXECUTOR, Attempt, Ending, Executor, Ledger, Order, Quarantine, Refused
from farm.tables.work import Job, JobEdge, Meta, Step, Task, TaskEdge

__all__ = [
    "BY_EXECUTOR",
    "ROWID",
    "STEP_WAITS",
    "TASK_BAD",
    "TASK_OPEN",
    "TASK_WAITS",
    "Act",
    "AnyRow",
    "Asked",
    "Attempt",
    "Base",
    "Built",
    "DecisionRow",
    "Duration",
    "Ending",
    "Executor",
    "Hold",
    "Job",
    "JobEdge",
    "JoinFailure",
    "Joined",
    "LaneFact",
    "Ledger",
    "Meta",
    "Order",
    "OwnerFact",
    "PoolFact",
    "Pushed",
    "Quarantine",
    "Refused",
    "Step",
    "Task",
    "TaskEdge",
    "Token",
    "Utc",
]
