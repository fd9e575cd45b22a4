"""One moment of the farm, looked at as far as an answer needs it."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection

from farm.config import FarmConfig
from farm.decisions import decided, last
from farm.observe import observe
from farm.policies import is_own
from schedules.gaps import Gaps
from schedules.model import Budget, Decision, Snapshot
from schedules.policy import default


@dataclass
class Look:
    """`running`: a farm runs. `closing`: it drains before it goes down. `gaps`: what it learned.
    `budgets`: as they were last."""

    tx: Connection
    config: FarmConfig
    now: datetime
    running: bool = True
    closing: bool = False
    gaps: Gaps = field(default_factory=Gaps)
    budgets: tuple[Budget, ...] = ()

    @cached_property
    def seen(self) -> Snapshot:
        return self.gaps.known(observe(self.tx, self.config, self.now, budgets=self.budgets))

    @cached_property
    def decision(self) -> Decision:
        """What the policy would do now; somebody's own is not asked, it has decided."""
        if self.config.policy and is_own(self.config.policy):
            return next((decided(kept.decision) for kept in last(self.tx, 1)), Decision(()))
        return default(self.seen)
