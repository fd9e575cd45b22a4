"""`make faults-elsewhere SEEDS=n [KIND=static]`: small runs on every kind of machine, each made from its seed alone.

python -m tests.chaos.elsewhere --seeds 12               fresh seeds, printed; the kinds take turns
python -m tests.chaos.elsewhere --seeds 5 --kind ec2
python -m tests.chaos.elsewhere --seed 1234              one of them again
"""

# ruff: noqa: T201 - a program that tells what it does

import argparse
import os
import sys
from pathlib import Path

from tests.chaos.elsewhere.lane import KINDS, Lane, fresh
from tests.chaos.elsewhere.run import Outcome
from tests.chaos.results import add


def main() -> int:
    """1 when a run has found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, action="append", default=[], help="this one; may be given again")
    parser.add_argument("--seeds", type=int, default=0, help="so many fresh ones")
    parser.add_argument("--kind", choices=KINDS, help="of one kind alone")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    parser.add_argument("--results", type=Path, help="add what came out to this file")
    options = parser.parse_args()
    seeds = [*options.seed, *fresh(options.seeds, options.kind)]
    bad = 0
    with Lane(options.keep) as lane:
        for seed in seeds:
            outcome = lane.run(seed)
            bad += bool(outcome.findings)
            tell(outcome)
            if options.results:
                add(options.results, [vars(outcome)])
    return 1 if bad else 0


def tell(outcome: Outcome) -> None:
    print(
        f"seed {outcome.seed}: {'BAD' if outcome.findings else 'fine'}, {outcome.kind}, {outcome.engine}, "
        f"{outcome.seconds} s, {outcome.tasks} tasks, {outcome.attempts} attempts, {outcome.twice} ran again, "
        f"{outcome.refused} refused; {'; '.join(outcome.faults)}",
        flush=True,
    )
    for finding in outcome.findings[:20]:
        print(f"  {finding}", flush=True)
    if outcome.findings:
        print(f"  again: python -m tests.chaos.elsewhere --seed {outcome.seed}", flush=True)


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
