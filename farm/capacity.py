"""What pools can ever give: a step that asks for more would wait for ever."""

from collections.abc import Collection, Sequence

from farm.config import FarmConfig, PoolConfig
from farm.model import StepSpec
from farm.offers import of_pool
from farm.queue.needs import GPUS
from farm.refusal import Refusal
from farm.sizes import format_size, memory_here
from farm.wording import nearest
from schedules.needs import MEMORY, Needs, lacking


def check_needs(config: FarmConfig, step: StepSpec) -> None:
    """Raises Refusal that names what is missing: cpus, memory, or both on one executor.

    A pool whose ceiling is 0 counts: that is how it is held back for a while.
    """
    pools, where = list(config.pools.values()), f"step {step.name!r}"
    _check_licences(config, step)
    _check_words(config, step)
    large = [pool for pool in pools if pool.largest >= step.cpu]
    if not large:
        most = max((pool.largest for pool in pools), default=0)
        what = f"no pool can ever give {step.cpu} cpus at once; the largest executor has {most}"
        raise Refusal(what, where, "ask for less with --needs cpu=N, or configure a larger pool in farm.toml")
    if all(_memory(pool) < step.memory for pool in large):
        raise Refusal(_too_little(step, large), where, "ask for less with --memory SIZE")
    _check_rest(config, step, where)


def _check_words(config: FarmConfig, step: StepSpec) -> None:
    """Amounts and labels that no pool knows are most likely written wrong."""
    for name, field in (("cpu", "cpu"), (MEMORY, "memory")):
        if name in step.needs:
            raise Refusal(f"{name} is no amount of needs", "--needs", f"give it as {field} of the step")
    offers = [of_pool(pool) for pool in config.pools.values()]
    for name in step.needs:
        if name not in (known := {one for offer in offers for one, _ in offer.amounts if one != MEMORY}):
            raise Refusal(f"no pool has {name[:100]!r}", "--needs", _meant(name, known))
    for label in step.labels:
        name = label.strip("!").partition("=")[0].rstrip("!")
        wants = not label.startswith("!") and "!=" not in label
        if wants and name not in (named := {one for offer in offers for one, _ in offer.labels}):
            have = nearest(name, named) if named else f"name it in farm.toml: [pools.NAME.labels] {name} = …"
            raise Refusal(f"no pool has the label {name[:100]!r}", "--label", have)


def _meant(name: str, known: Collection[str]) -> str:
    """`cpus` is near to what is no amount."""
    near = nearest(name, {*known, "cpu", MEMORY})
    if near.startswith("did you mean"):
        return near
    return nearest(name, known) if known else f"say what executors have in farm.toml: {_example(name)}"


def _example(name: str) -> str:
    return "gpus = 1 below [pools.NAME]" if name == GPUS else f"amounts = {{ {name} = 1 }} below [pools.NAME]"


def _check_rest(config: FarmConfig, step: StepSpec, where: str) -> None:
    """All of it has to be on one executor. Names the pool that comes nearest, and what it lacks."""
    lacks = {name: _lacks(pool, step) for name, pool in config.pools.items()}
    if all(lacks.values()):
        near = min(lacks, key=lambda name: (len(lacks[name]), sum("has 0 of" in one for one in lacks[name])))
        what = f"no pool can ever give all that a task needs; the nearest, {near}, lacks {'; '.join(lacks[near])}"
        raise Refusal(what, where, "ask for less, or configure such a pool in farm.toml")


def _lacks(pool: PoolConfig, step: StepSpec) -> list[str]:
    needs = Needs(step.cpu, tuple(sorted(step.needs.items())), tuple(step.labels))
    slots = [f"cpus: it has {pool.largest} of {step.cpu}"] if pool.largest < step.cpu else []
    has, wants = format_size(_memory(pool)), format_size(step.memory)
    memory = [f"memory: it has {has} of {wants}"] if _memory(pool) < step.memory else []
    return [*slots, *memory, *lacking(needs, of_pool(pool))]


def placed(config: FarmConfig, step: StepSpec) -> StepSpec:
    """Where a pool says how much memory its executors have, that is used up as other amounts are."""
    if not step.memory or not any(pool.memory for pool in config.pools.values()):
        return step
    return step.model_copy(update={"needs": {**step.needs, MEMORY: step.memory}})


def _check_licences(config: FarmConfig, step: StepSpec) -> None:
    for name, count in step.licences.items():
        if name not in config.licences:
            what = f"there is no licence {name[:100]!r}"
            remedy = (
                nearest(name, config.licences) if config.licences else "name it in farm.toml: [licences.NAME] count = 1"
            )
            raise Refusal(what, "--licence", remedy)
        if count > (most := config.licences[name].count):
            raise Refusal(
                f"there are {most} of licence {name!r}, and a task asks for {count}", "--licence", "ask for less"
            )


def _memory(pool: PoolConfig) -> int:
    return pool.memory or memory_here()


def _too_little(step: StepSpec, pools: Sequence[PoolConfig]) -> str:
    most = format_size(max(_memory(pool) for pool in pools))
    of = f" to a task of {step.cpu} cpus" if step.cpu > 1 else ""
    return f"no pool can ever give {format_size(step.memory)} of memory{of}; the largest executor has {most}"
