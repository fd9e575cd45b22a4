"""What a policy sees and what it may ask for. Frozen values; identity by strings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Literal, Protocol

from schedules.needs import PLAIN, Amounts, Offer


@dataclass(frozen=True, slots=True)
class Hours:
    """What a window, or the pool's own settings, say of one pool. None: says nothing, the one below holds."""

    floor: int | None = None  # executors in total, whatever the backlog
    ceiling: int | None = None  # slots in total
    idle: timedelta | None = None  # an idle executor is sent away after this
    price_per_hour: Decimal | None = None
    spare: int | None = None  # the idle target: so many executors stay empty beside those that work


@dataclass(frozen=True, slots=True)
class Window:
    """Named opening hours in an IANA zone. `end` ≤ `start` crosses midnight; the day is the day it starts.

    Windows may overlap: the last that is open wins, setting by setting. Dates are ISO texts.
    """

    name: str
    zone: str
    days: frozenset[int]  # 0 is Monday
    start: time
    end: time
    pools: Mapping[str, Hours]
    holidays: frozenset[str] = frozenset()  # dates on which it does not open
    dates: frozenset[str] | None = None  # those on which alone it does
    allowed: frozenset[str] | None = None  # pools: the others order nothing
    price_cap: Decimal | None = None  # pools that cost more an hour order nothing
    lanes: frozenset[str] | None = None  # those that are open: of the others nothing is handed out


Closed = Literal["", "held", "spending", "schedule"]


@dataclass(frozen=True, slots=True)
class Pool:
    """A source of like executors. `ceiling` is in slots; `slots` is an executor's size when nothing asks for more.

    One that a person `closed` orders nothing and keeps nobody, whatever its floor; `closed_why` says who and why.
    """

    name: str
    price_per_hour: Decimal
    slots: int
    ceiling: int
    max_slots: int  # the largest executor it can give
    boot: timedelta  # learned median, or the configured prior
    boot_p95: timedelta
    floor: int = 0
    idle: timedelta | None = None  # None: derived from the boot time
    min_bill: timedelta = timedelta()
    breaker_open_until: datetime | None = None
    closed: Closed = ""
    closed_why: str = ""
    offer: Offer = PLAIN  # of each executor, beside its slots
    boots_kept: float = 1.5  # so many boots an idle executor is worth, where `idle` says nothing
    learns: bool = False  # how long one is kept is learned: that at most
    kept: tuple[timedelta, ...] = ()  # what was learned, by schedules.gaps.bucket
    spare: int = 0  # executors that stay empty beside those that work
    ahead: float = 0.0  # empty ones are there for as many as came in this part of all boots, in this hour of the week
    prompt: bool = False  # a single task that is due relies on no slot that is only expected to be free


ExecutorState = Literal["ordered", "booting", "ready", "draining"]


@dataclass(frozen=True, slots=True)
class Executor:
    id: str
    pool: str
    state: ExecutorState
    slots: int
    busy_slots: int
    since: datetime  # when it was ordered
    idle_since: datetime | None = None
    kept: int = 0  # slots that a task waits for at once here: until they are free, no other gets any
    kept_for: str = ""  # its job
    aside: int = 0  # free slots that are kept for tasks with needs
    offer: Offer = PLAIN


@dataclass(frozen=True, slots=True)
class Lane:
    """A class of jobs. W = clip(alpha · predicted, w_min, w_max) is how long its tasks may wait."""

    name: str
    weight: float = 1.0
    alpha: float = 0.0
    w_min: timedelta = timedelta()
    w_max: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Licence:
    """`count` may be in use on the farm at once: by each task, or by each host for all the tasks it runs."""

    count: int
    per: Literal["task", "host"] = "task"


@dataclass(frozen=True, slots=True)
class Waiting:
    """`count` ready tasks alike in everything that matters; of job `who`, which is named in the reasons."""

    count: int
    arrival: datetime
    due: datetime
    predicted: timedelta
    slots: int = 1
    who: str = ""
    amounts: Amounts = ()  # beside the slots, of each task
    labels: tuple[str, ...] = ()  # what has to hold of its executor
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Busy:
    """`slots` of a running attempt are expected back at `predicted_finish`, unless its `executor`, if told, drains."""

    predicted_finish: datetime
    slots: int = 1
    executor: str = ""
    amounts: Amounts = ()  # beside the slots


@dataclass(frozen=True, slots=True)
class Demand:
    lane: str
    waiting: tuple[Waiting, ...] = ()
    running: tuple[Busy, ...] = ()


@dataclass(frozen=True, slots=True)
class Reserve:
    """So many slots, or this part of all ceilings if that is more, tasks of these lanes leave to the others."""

    slots: int = 0
    part: float = 0.0
    lanes: frozenset[str] = frozenset()


NOTHING = Reserve()


@dataclass(frozen=True, slots=True)
class Budget:
    """What work of an owner ("": of all), in a lane ("": in all), may cost until then; None: ever. `bound` is what the
    machines that are there for it cost from now on though nothing more began."""

    name: str
    amount: Decimal
    spent: Decimal
    bound: Decimal = Decimal(0)
    owner: str = ""
    lane: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All a policy may know. Stored with every decision, so that any decision can be replayed."""

    now: datetime
    lanes: tuple[Lane, ...]
    pools: tuple[Pool, ...]
    executors: tuple[Executor, ...]
    demand: tuple[Demand, ...]
    schedule: tuple[Window, ...] = ()
    reserve: Reserve = NOTHING
    budgets: tuple[Budget, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    pool: str
    count: int
    slots: int
    why: str
    who: str = ""  # the job whose backlog asked first: boot time is booked on it


@dataclass(frozen=True, slots=True)
class Drain:
    """Give it no more work; it goes when its last attempt ends."""

    executor: str
    why: str


@dataclass(frozen=True, slots=True)
class Retire:
    """It is empty: send it away now."""

    executor: str
    why: str


Action = Launch | Drain | Retire


Obstacle = Literal["size", "breaker", "ceiling", "held", "spending", "schedule", "reserve", "budget"]


@dataclass(frozen=True, slots=True)
class Unmet:
    """Demand that this decision leaves waiting without a machine on its way, and the rule that says so."""

    who: str
    slots: int
    why: str
    obstacles: tuple[Obstacle, ...] = ()  # of each pool, in the order in which they would be asked


@dataclass(frozen=True, slots=True)
class Decision:
    actions: tuple[Action, ...]
    look_again: datetime | None = None  # nothing will change before, unless an event comes
    unmet: tuple[Unmet, ...] = field(default=())
    notes: tuple[str, ...] = ()  # what a policy of somebody's own did that could not be carried out


class ScalingPolicy(Protocol):
    def __call__(self, seen: Snapshot, /) -> Decision: ...
