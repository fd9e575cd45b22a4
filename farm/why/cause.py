"""Every answer to "why": one word for each, for programs. the tests demand a scene for each."""

from enum import StrEnum


class Cause(StrEnum):
    """Why a job, task, attempt, executor or pool is as it is."""

    # it is over
    DONE = "done"
    CANCELLED = "cancelled"
    AFTER_FAILED = "after-failed"  # cancelled because a job before it did not succeed
    UNCHANGED = "unchanged"  # skipped: nothing it is built from changed
    NEEDS_FAILED = "needs-failed"  # skipped: something it needs did not succeed
    # it failed
    EXIT = "exit"
    SIGNAL = "signal"
    MAYBE_MEMORY = "maybe-memory"  # killed, but not by us
    TIMEOUT = "timeout"
    SILENCE = "silence"
    OUTPUT = "output"
    MEMORY = "memory"
    PROCESSES = "processes"
    NO_PROGRAM = "no-program"
    CWD = "cwd"
    DISK = "disk"  # its executor's disk was full
    INPUTS = "inputs"
    SECRET = "secret"  # it can't be read by the service
    OUTPUTS = "outputs"
    NO_LICENCE = "no-licence"  # for as long as it may wait for one
    LOST = "lost"  # its executor went
    REQUEUED = "requeued"  # an attempt that was ended and goes back, uncharged
    EVERYWHERE = "everywhere"  # failed on several executors
    # it goes on
    RUNNING = "running"
    HANDED_OUT = "handed-out"  # its executor has it and has not begun
    # it waits
    HELD = "held"
    LANE_HELD = "lane-held"
    POOL_HELD = "pool-held"  # of a pool too
    SPENDING = "spending-stopped"  # of a pool too
    START_AFTER = "start-after"  # its own time has not come
    SCHEDULE = "schedule-closed"  # by a window of farm.toml: its lane, or the pools; of a pool too
    AFTER = "after"  # for other jobs or steps
    NEEDS = "needs"  # for other tasks
    DOWN = "down"
    CLOSING = "closing"
    LICENCE = "licence"
    PAUSED = "paused"  # until the executor's disk may have room again
    NO_POOL = "no-pool"
    TOO_LARGE = "too-large"
    CEILING = "ceiling"
    BREAKER = "breaker"
    BUDGET = "budget"  # its money is spent
    RESERVE = "reserve"  # its lane leaves the slots that are left to others
    SOLD_OUT = "sold-out"  # its provider has no machines now; of a pool too
    QUOTA = "quota"  # of the account at the provider; of a pool too
    BLOCKED_HOST = "blocked-host"  # what is free is on an executor that is quarantined
    SHARE = "share"  # others had less than their share, and go first
    BOOTING = "booting"
    QUEUE = "queue"
    AMOUNT = "amount"  # of something beside slots not enough is free: where, and when it is back
    ROOM = "room"  # for several slots at once: an executor drains for it
    KEPT_ROOM = "kept-room"  # what is free is kept for a task that needs several slots at once
    # executors
    ORDERED = "ordered"
    BUSY = "busy"
    IDLE = "idle"
    KEPT = "kept"  # something that waits could use it
    FLOOR = "floor"
    PAID = "paid"  # inside the paid minimum
    DRAINING = "draining"
    QUARANTINED = "quarantined"
    GONE = "gone"
    VANISHED = "vanished"
    # pools
    OPEN = "open"
    SUSPECTS = "suspects"  # its failing executors are kept: too many were sent away


LIMITS = (Cause.TIMEOUT, Cause.SILENCE, Cause.OUTPUT, Cause.MEMORY, Cause.PROCESSES)

REPORTED = {
    "timeout": Cause.TIMEOUT,
    "silence": Cause.SILENCE,
    "output": Cause.OUTPUT,
    "memory": Cause.MEMORY,
    "processes": Cause.PROCESSES,
    "no-program": Cause.NO_PROGRAM,
    "cwd": Cause.CWD,
    "disk": Cause.DISK,
    "inputs": Cause.INPUTS,
    "secret": Cause.SECRET,
    "outputs": Cause.OUTPUTS,
    "licence": Cause.NO_LICENCE,
    "lost": Cause.LOST,
    "cancelled": Cause.REQUEUED,
    "stale-term": Cause.REQUEUED,
}
"""What an attempt's row says → the cause."""
