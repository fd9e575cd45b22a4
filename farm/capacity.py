"""What pools can ever give: a step that asks for more would wait for ever."""

from collections.abc import Sequence

from farm.config import FarmConfig, PoolConfig
from farm.model import StepSpec
from farm.refusal import Refusal
from farm.sizes import format_size, memory_here
from farm.wording import nearest


def check_needs(config: FarmConfig, step: StepSpec) -> None:
    """Raises Refusal that names what is missing: cpus, memory, or both on one executor.

    A pool whose ceiling is 0 counts: that is how it is held back for a while.
    """
    pools, where = list(config.pools.values()), f"step {step.name!r}"
    _check_licences(config, step)
    large = [pool for pool in pools if pool.largest >= step.cpu]
    if not large:
        most = max((pool.largest for pool in pools), default=0)
        what = f"no pool can ever give {step.cpu} cpus at once; the largest executor has {most}"
        raise Refusal(what, where, "ask for less with --needs cpu=N, or configure a larger pool in farm.toml")
    if all(_memory(pool) < step.memory for pool in large):
        raise Refusal(_too_little(step, large), where, "ask for less with --memory SIZE")


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
