"""Tasks that were laid down are as if they had run: the books hold, and the rest of the array goes on."""

from farm.bench.laid import lay
from farm.integrity import look
from farm.model import Range, StepSpec
from tests.contract.queue_farm import QueueFarm


def test_what_is_laid_down_counts_as_done_and_the_rest_runs(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=40)))
    farm.finish(farm.claim(1))
    lay(farm.db, job, 30)
    assert farm.counts(job) == {"done": 30, "ready": 10}
    assert farm.run(job) == [f"{job}.{n}.1" for n in range(31, 41)]
    assert farm.state(job) == "done"
    assert [found.what for found in look(farm.db) if found.rule in ("counters", "states", "attempts", "pages")] == []
