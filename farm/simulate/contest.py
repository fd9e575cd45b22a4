"""The same day under several policies, and the bound that none of them can undercut."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farm.config import DEFAULT_LANES
from farm.policies import close, policy_of
from farm.policy_guard import Guarded
from farm.simulate.bound import Need, Terms, bound, work_and_a_boot
from farm.simulate.course import Course
from farm.simulate.farmer import Farmer
from farm.simulate.peers import PEERS, Static
from farm.simulate.pools import Chance, Offer
from farm.simulate.score import play
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import Decides, World
from schedules.model import NOTHING, Reserve, ScalingPolicy
from schedules.policy import default
from schedules.presets import PRESETS, Preset

STATIC_P95_S = 300.0  # as many standing machines as keep the p95 of waits below


@dataclass(frozen=True, slots=True)
class Contest:
    """`lanes`: source or class → lane; others wait in the lane of their class's name, else in the default one."""

    jobs: Sequence[Job]
    offers: Sequence[Offer]
    lanes: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    owners: bool = False
    reserve: Reserve = NOTHING
    watched: bool = False  # what happens is kept, for a plot
    courses: dict[str, Course] = field(default_factory=dict)

    def lane(self, job: Job) -> str:
        found = self.lanes.get(job.source) or self.lanes.get(job.cls) or job.cls
        return found if found in ("interactive", "bulk") else "default"

    def run(
        self,
        presets: Sequence[str],
        peers: Sequence[str],
        wait_s: float | None,
        lived: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What `farm simulate --json` prints, beside how it went in truth. Raises Unavailable for want of SciPy."""
        work = sum(job.duration for job in self.jobs) / SECOND
        found: dict[str, Any] = {"jobs": len(self.jobs), "work_seconds": round(work, 3)}
        b0, b1 = self._bounds(wait_s)
        found["bound_ratio_b0"] = round(b0 / work, 6)
        found["bound_ratio_b1"] = None if b1 is None else round(b1 / work, 6)
        found["bound_wait_s"] = wait_s
        results = (*([lived] if lived else []), *self.results(presets, peers))
        found["policies"] = [self._over(result, b1) for result in results]
        return found

    def _bounds(self, wait_s: float | None) -> tuple[float, float | None]:
        needs = [Need(job.arrival / SECOND, job.duration / SECOND) for job in self.jobs]
        offer = min(self.offers, key=lambda offer: offer.boot)
        terms = Terms(wait_s or 0.0, offer.boot / SECOND, offer.slots)
        return work_and_a_boot(needs, terms), None if wait_s is None else bound(needs, terms)

    def _over(self, result: Mapping[str, Any], b1: float | None) -> dict[str, Any]:
        return {**result, "over_bound": None if b1 is None else round(result["paid_machine_s"] / b1, 5)}

    def results(self, presets: Sequence[str], peers: Sequence[str]) -> Iterator[dict[str, Any]]:
        for name in presets:
            yield self._by_preset(PRESETS[name]) if name in PRESETS else self._by_own(name)
        for name in peers:
            yield self._static() if name == "static" else self.play(PEERS[name]())

    def _by_preset(self, preset: Preset, policy: ScalingPolicy = default) -> dict[str, Any]:
        offers = {offer.name: offer for offer in self.offers}
        return self.play(Farmer(preset, offers, self.lane, policy, owners=self.owners, reserve=self.reserve))

    def _by_own(self, name: str) -> dict[str, Any]:
        """Somebody's own policy, guarded as in a farm, with the lanes of a farm that has no preset."""
        policy = policy_of(name)
        try:
            found = self._by_preset(Preset(name, "", DEFAULT_LANES, 0.5, False), policy)
        finally:
            close(policy)
        return {**found, "trouble": policy.trouble if isinstance(policy, Guarded) else ""}

    def world(self, mind: Decides) -> World:
        return World(self.jobs, self.offers, mind, Chance(self.seed), Course.of(self.jobs) if self.watched else None)

    def play(self, mind: Decides) -> dict[str, Any]:
        world = self.world(mind)
        found = play(world)
        if world.course is not None:
            self.courses[mind.name] = world.course.done(world)
        return found

    def _static(self) -> dict[str, Any]:
        """The least number of standing machines whose p95 is good enough, or all that there may be."""
        most = self.offers[0].ceiling // self.offers[0].slots
        tried: dict[int, dict[str, Any]] = {}

        def good(count: int) -> bool:
            tried[count] = self.play(Static(machines=count))
            return bool(tried[count]["wait_p95"] <= STATIC_P95_S)

        least = _least(good, most)
        if self.watched:  # the last one tried was perhaps another
            return self.play(Static(machines=least))
        return tried.get(least) or self.play(Static(machines=least))


def _least(good: Callable[[int], bool], most: int) -> int:
    """The first number from 1 on that is good, if those above it are, too; else `most`."""
    high = 1
    while high < most and not good(high):
        high = min(most, 2 * high)
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high
