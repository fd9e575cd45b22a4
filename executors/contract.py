"""The two seams of this package: where executors come from, and how work runs on them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, runtime_checkable

from executors.errors import ProviderError
from executors.invitation import Invite

# ── Providers: a source of executors ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing a provider sells. `key` names type, zone and market; breakers are kept per key."""

    key: str
    slots: int
    price_per_hour: Decimal


@dataclass(frozen=True, slots=True)
class Order:
    """Our written intent to have `count` executors of `slots` each. The same token never buys twice.

    `least`: who has no larger ones may give executors of so many slots; 0: none smaller are of use."""

    token: str
    pool: str
    count: int
    slots: int
    least: int = 0


class MachineState(StrEnum):
    """What the provider's own books say of a machine."""

    BOOTING = "booting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine in the provider's books. `id` is unique in the farm and is the executor's id too."""

    id: str
    order: str
    pool: str
    state: MachineState
    slots: int
    launched_at: datetime
    ended_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an offer gave less than was asked."""

    offer: str
    error: ProviderError


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to an order: possibly fewer machines than asked, and why not more."""

    machines: tuple[Machine, ...]
    refused: tuple[Refusal, ...] = ()


class Provider(Protocol):
    """A source of executors. Blocking; holds no retries, metrics or logs: `metered` adds them."""

    def offers(self) -> Sequence[Offer]: ...

    def launch(self, order: Order, /) -> Placed:
        """Start machines. Repeating a token returns the machines it already bought.

        Raises SoldOut, Throttled, Refused, Lost only when nothing at all was placed.
        """
        ...

    def machines(self) -> Sequence[Machine]:
        """All machines of this pool, found by tag, the recently ended ones included."""
        ...

    def terminate(self, ids: Collection[str], /) -> None:
        """End machines. Unknown or ended ids are fine."""
        ...


@runtime_checkable
class Watches(Protocol):
    """A provider that notices by itself when something happens to a machine."""

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        """Block until machines have ended unasked, or until the time is up; their ids."""
        ...

    def close(self) -> None:
        """Wake every waiter; used when the farm stops. Machines live on."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """Something that was made once and that machines are started from. `mib` is what it takes on the disk."""

    name: str
    what: str
    mib: int
    made_at: datetime


@runtime_checkable
class Prepares(Protocol):
    """A provider whose machines start from something that takes a while to make, once."""

    def prepare(self, tell: Callable[[str], None], /) -> Prepared:
        """Make it now, unless it is there. Raises Refused."""
        ...

    def prepared(self) -> Sequence[Prepared]:
        """All that is kept, whatever pool it is for."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a provider is told about the farm it works for."""

    farm: str  # id of the farm: the tag on everything it starts
    pool: str
    home: str  # folder that belongs to this pool alone
    run: str  # short private folder: sockets, the site's head
    store: str  # folder of the content-addressed store
    engine: str  # "ray" or "plain": what runs the work on the executors of this site
    lease: timedelta  # an executor cut off for longer ends itself
    invite: Invite | None = None  # for machines that join from elsewhere; None where the farm has no address for them
    image: str = ""  # what its machines are made from; each provider says what that is
    setup: str = ""  # a script run once on each of its executors, before its first work
    network: str = "local"  # "outbound": its executors are elsewhere, and each speaks with the farm by itself


@dataclass(frozen=True, slots=True)
class Standby:
    """What an owned machine says of itself. `why` tells why it is not free. `running` is the executor on it now,
    `ended` one that has ended since the last word, with what was wrong with it in `error`."""

    machine: str
    slots: int
    free: bool
    why: str = ""
    running: str = ""
    ended: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it shall do: become the executor of this invitation, or end that executor; empty: go on as before."""

    invitation: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows from a word of an owned machine: one more is free; an executor on one shall go, and why."""

    freed: bool = False
    leaves: str = ""
    why: str = ""


NOBODY = "no owned machine is free"
"""Stands in the SoldOut of such a provider: it is true until one comes."""


@runtime_checkable
class StandsBy(Protocol):
    """A provider of machines that come by themselves."""

    def heed(self, said: Standby, /) -> Heard:
        """Bring the books to what a machine says of itself."""
        ...

    def answer(self, said: Standby, wait: timedelta, /) -> Answer:
        """What the machine that has just said so shall do. Blocks up to `wait` while there is nothing."""
        ...


# ── Sites: work on the executors of one network ──────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file by content: relative POSIX path, sha256 in hex, bytes, permission bits."""

    path: str
    digest: str
    size: int
    mode: int = 0o644


PYTHON = "{python}"
"""As the first word of a work's argv: the Python that the executor itself runs on."""


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt, self-contained: nothing here means anything only on the farm's own machine."""

    attempt: str  # "17.3.2": job, task, attempt
    token: int  # fencing token, echoed in every event
    term: int  # the scheduler's term; an agent refuses terms older than it has seen
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # more of the environment; never kept, blotted out of logs
    unready: str = ""  # why it can't begin at all; one sentence
    hopeless: bool = False  # … and why another try would not help
    cwd: str = ""  # relative to the scratch folder, or an absolute folder of the executor
    inputs: tuple[FileRef, ...] = ()
    outputs: tuple[str, ...] = ()  # glob patterns below the working folder
    slots: int = 1
    timeout_s: float = 0  # wall time; 0 is none, as in the limits below
    silence_s: float = 0  # without a byte of output
    output_bytes: int = 0  # written; beyond it the attempt is ended
    memory_bytes: int = 0  # of all its processes together
    processes: int = 0  # alive at once, threads too where the kernel counts them
    owner: str = ""


class EventKind(StrEnum):
    STARTED = "started"
    LOG = "log"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on an executor, numbered by it from 1 without gaps.

    started: `at`. log: bytes of spool file `spool` at offset `lo` up to `hi`; the bytes travel beside the event.
    finished: `started`, `at`, `exit` (negative: a signal), `cause`, rusage, the attempt's range of the spool.
    Times are nanoseconds since the epoch.
    """

    seq: int
    kind: EventKind
    attempt: str = ""
    token: int = 0
    at: int = 0
    started: int = 0
    exit: int = 0
    cause: str = ""  # "" (its own exit), cancelled, a limit (timeout, silence, output, memory, processes), no-program,
    #                  cwd, disk, inputs, secret, outputs, lost, stale-term
    message: str = ""
    cpu_ms: int = 0
    rss_kib: int = 0
    spool: str = ""
    lo: int = 0
    hi: int = 0
    outputs: tuple[FileRef, ...] = ()
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt an executor knows: running, waiting there, or finished but not acknowledged."""

    executor: str
    attempt: str
    token: int
    state: str  # "waiting", "running", "finished"


@dataclass(frozen=True, slots=True)
class Ready:
    """An executor that can take work."""

    executor: str
    slots: int
    pid: int = 0
    node: str = ""


Cursor = Mapping[str, int]
"""Executor → number of its last event seen."""


class Site(Protocol):
    """Work on the executors of one network. Ray is what users get; plain processes keep the same contract."""

    def ready(self) -> Sequence[Ready]:
        """Executors that have joined and answer."""
        ...

    def attach(self, machine: str, slots: int, /) -> None:
        """Expect this executor; make its agent as soon as it joins. Repeating it is fine."""
        ...

    def start(self, works: Sequence[Work], on: str, /) -> None:
        """Hand work to an executor. Idempotent by attempt. Raises Lost when the executor is gone."""
        ...

    def cancel(self, attempts: Collection[str], /) -> None:
        """End attempts: TERM, grace, KILL. Unknown ones are fine."""
        ...

    def stop(self, machine: str, /, grace: timedelta) -> None:
        """Drain an executor and let it go. Unknown ones are fine."""
        ...

    def snapshot(self) -> Sequence[Running]:
        """What is where, for adoption after a restart."""
        ...

    def events(self, after: Cursor, /, wait: timedelta) -> Mapping[str, Sequence[Event]]:
        """Events beyond the cursor, by executor; blocks up to `wait` while there are none."""
        ...

    def acknowledge(self, upto: Cursor, /) -> None:
        """The farm has these events on its disk: the executors may forget them."""
        ...

    def renew(self, lease: timedelta, /) -> None:
        """The farm was heard of just now: every executor may live for another lease."""
        ...

    def lost(self) -> Sequence[str]:
        """Executors that had joined and are gone, since the last call."""
        ...

    def close(self) -> None:
        """Let go of everything; executors and their work live on."""
        ...
