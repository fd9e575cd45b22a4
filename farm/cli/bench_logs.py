"""`farm bench logs`: lines from tasks to whoever reads them."""

import os
import shutil
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli.bench import Engine
from farm.cli.options import JsonOption
from farm.cli.output import emit, facts
from farm.client import Client, connect
from farm.home import Home
from farm.refusal import Unavailable

SLOTS = 8
READY_S = 120.0
SETTINGS = """[site]
engine = "{engine}"
[pools.local]
provider = "local"
slots = {slots}
max_slots = {slots}
floor = 1
ceiling = {slots}
"""


def logs(
    lines: Annotated[int, typer.Option(min=1000, max=5_000_000, help="How many lines each task prints.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="How many runs; medians are printed.")] = 3,
    engine: Annotated[Engine, typer.Option(help="What runs the tasks.")] = Engine.RAY,
    json: JsonOption = False,
) -> int:
    """A farm of its own in a temporary home. readable_after_s is from the end of a task to the last byte of its log at
    a reader; lines_per_second that of 8 tasks at once, until all of it can be read; seen_after_… how late a viewer that
    follows sees a line. `over` names what is not as it should be on a machine that does nothing else."""
    with tempfile.TemporaryDirectory(prefix="farm-bench-") as folder:
        found = _measure(Home(Path(folder)), lines, runs, engine)
    from farm.bench.figures import over
    from farm.bench.lines import LEAST, LIMITS

    low = [name for name, least in LEAST.items() if found[name] < least]
    found |= {"engine": engine.value, "runs": runs, "load": round(os.getloadavg()[0], 1)}
    found |= {"over": over(found, LIMITS) + low}
    if json:
        emit(found)
    else:
        facts((found | {"over": ", ".join(found["over"])}).items())
    return 0


def _measure(home: Home, lines: int, runs: int, engine: Engine) -> dict[str, Any]:
    from farm.bench.lines import followed, one_task, sustained
    from farm.cli.service import start, stop

    home.make()
    home.config_file.write_text(SETTINGS.format(engine=engine.value, slots=SLOTS))
    start(home)
    try:
        with connect(home) as client:
            _ready(client)
            one_task(client, 1000)
            single = [one_task(client, lines) for _ in range(runs)]
            many = [sustained(client, SLOTS, lines) for _ in range(runs)]
            late = [followed(client) for _ in range(runs)]
    finally:
        stop(home, drain=False)
        shutil.rmtree(home.run, ignore_errors=True)
    return {
        **single[0],
        "readable_after_s": statistics.median(one["readable_after_s"] for one in single),
        **many[0],
        "lines_per_second": round(statistics.median(one["lines_per_second"] for one in many)),
        "seen_after_p50_s": statistics.median(one["seen_after_p50_s"] for one in late),
        "seen_after_max_s": max(one["seen_after_max_s"] for one in late),
    }


def _ready(client: Client) -> None:
    pause = threading.Event()
    for _ in range(int(READY_S / 0.1)):
        if any(one["state"] == "ready" for one in client.get("/v1/executors")["executors"]):
            return
        pause.wait(0.1)
    raise Unavailable("the executor did not become ready", remedy="try `farm doctor`")
