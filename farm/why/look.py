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
    def own(self) -> str:
        """The policy of somebody's own that decides here, or ""."""
        return self.config.policy if self.config.policy and is_own(self.config.policy) else ""

    @cached_property
    def decision(self) -> Decision:
        """What the policy would do now. Somebody's own is not asked: it has decided, and what it did then is done."""
        if self.own:
            nothing = {"kinds": (), "actions": ()}
            return next((decided({**kept.decision, **nothing}) for kept in last(self.tx, 1)), Decision(()))
        return default(self.seen)
