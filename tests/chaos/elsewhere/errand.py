"""The work of a run: some jobs of short tasks, each with a log and a file, and what must be true of them afterwards."""

import json
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from executors.store import FolderStore
from farm.client import Client
from farm.store import open_store

RETRIES = 4  # a killed task is a failed one, and a fault may hit the same task again
MISSING = "of output are missing"  # said by an attempt whose disk was full
SCRIPT = """\
set -e
echo "begin $FARM_ATTEMPT"
i=0; while [ $i -lt "$1" ]; do i=$((i + 1)); echo "line $i"; sleep "$2"; done
{then}
{{ echo "$FARM_ATTEMPT"; seq 1 "$3"; }} >out-$FARM_INDEX
echo "end $FARM_ATTEMPT"
"""


@dataclass(frozen=True)
class Kind:
    """How the tasks of a step behave."""

    lines: int
    pause_s: float
    size: int  # numbers in the file that each leaves

    def argv(self, then: str = "") -> list[str]:
        return ["sh", "-c", SCRIPT.format(then=then), "sh", str(self.lines), f"{self.pause_s:.2f}", str(self.size)]

    def log(self, attempt: str) -> str:
        return "".join([f"begin {attempt}\n", *(f"line {n}\n" for n in range(1, self.lines + 1)), f"end {attempt}\n"])

    def file(self, attempt: str) -> bytes:
        return "".join([f"{attempt}\n", *(f"{n}\n" for n in range(1, self.size + 1))]).encode()


@dataclass
class Errand:
    """Made from the seed alone. `tasks` counts all of them. With `light` there is less of everything: machines that are
    emulated need a tenth of a second for each line."""

    choose: random.Random
    light: bool = False
    jobs: dict[int, dict[str, Kind]] = field(default_factory=dict)  # id → step name → kind
    tasks: int = 0
    _kinds: dict[str, Kind] = field(default_factory=dict)  # of all steps, by name

    def submit(self, client: Client) -> None:
        choose = self.choose
        short = Kind(choose.randint(2, 9), choose.uniform(0.02, 0.1), choose.randint(10, 3000))
        slow = Kind(choose.randint(8, 20), 0.2, choose.randint(10, 500))
        last = choose.randint(10, 16)
        if self.light:
            last //= 2
            short, slow = replace(short, lines=1 + short.lines // 4), replace(slow, lines=slow.lines // 3)
        self._post(client, self._array("many", last, short))
        self._post(client, self._array("slow", 3, slow))
        fails = 'case "$FARM_ATTEMPT" in *.1) exit 9;; esac'
        self._post(client, self._array("retried", choose.randint(1, 3), short, fails))
        fan = self._array("fan", 4, short) | {"after": ["prepare"]}
        gather = self._step("gather", short, "test $(ls all | wc -l) = 4") | {"after": ["fan"], "gather": "all"}
        self._post(client, self._step("prepare", short), fan, gather)

    def _step(self, name: str, kind: Kind, then: str = "") -> dict[str, Any]:
        self._kinds[name] = kind
        self.tasks += 1
        return {"name": name, "argv": kind.argv(then), "outputs": ["out-*"], "retries": RETRIES}

    def _array(self, name: str, size: int, kind: Kind, then: str = "") -> dict[str, Any]:
        self.tasks += size - 1
        return self._step(name, kind, then) | {"array": {"first": 1, "last": size, "step": 1}}

    def _post(self, client: Client, *steps: dict[str, Any]) -> None:
        made = client.post("/v1/jobs", {"name": "errand", "owner": "chaos", "steps": steps})
        self.jobs[int(made["id"])] = {step["name"]: self._kinds[step["name"]] for step in steps}

    # ── afterwards ──

    def findings(self, database: Path, store: Path, client: Client, no_room: bool) -> Iterator[str]:
        """What is lost, doubled or not whole; with `no_room` a log may say that its disk was full."""
        rows = list(done(database))
        if len(rows) != self.tasks:
            yield f"{len(rows)} tasks instead of {self.tasks}"
        for row in rows:
            name = f"{row['job']}.{row['number']}"
            if row["state"] != "done" or row["succeeded"] != 1:
                yield (
                    f"task {name} is {row['state']} with {row['succeeded']} accepted results: "
                    f"{row['cause']} {row['message']}"
                )
                continue
            kind = self.jobs[row["job"]][row["step"]]
            attempt = f"{name}.{row['accepted']}"
            if not (no_room and MISSING in row["said"]):
                yield from self._log(client, attempt, kind)
            yield from _file(open_store(store), attempt, kind, row["outputs"])

    def _log(self, client: Client, attempt: str, kind: Kind) -> Iterator[str]:
        said = client.log(attempt).data.decode(errors="replace")
        if said != kind.log(attempt):
            yield f"the log of {attempt} is {said[:300]!r} ({len(said)} letters), not {kind.log(attempt)[:60]!r}…"


def _file(store: FolderStore, attempt: str, kind: Kind, outputs: str) -> Iterator[str]:
    digests = [one["digest"] for one in json.loads(outputs or "[]")]
    if len(digests) != 1:
        yield f"{attempt} has {len(digests)} output files: {outputs}"
    elif store.read(digests[0]) != kind.file(attempt):
        yield f"the output of {attempt} is {store.read(digests[0])[:100]!r}…"


def done(database: Path) -> list[sqlite3.Row]:
    """All tasks, each with the number of its accepted results."""
    return ask(
        database,
        "SELECT t.job, t.number, t.state, t.accepted, t.outputs, t.cause, t.message, s.name AS step, "
        "(SELECT COUNT(*) FROM attempt a WHERE a.job = t.job AND a.number = t.number AND a.state = 'succeeded') "
        "AS succeeded, COALESCE((SELECT a.message FROM attempt a WHERE a.job = t.job AND a.number = t.number "
        "AND a.ordinal = t.accepted), '') AS said FROM task t JOIN step s ON s.job = t.job AND s.ordinal = t.step",
    )


def ask(database: Path, query: str) -> list[sqlite3.Row]:
    """Of a farm's SQLite file, beside the service. Nothing while it can't be read."""
    try:
        connection = sqlite3.connect(database, timeout=10)
    except sqlite3.OperationalError:
        return []
    try:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def progress(database: Path) -> int:
    """Tasks that are done."""
    found = ask(database, "SELECT COUNT(*) AS n FROM task WHERE state = 'done'")
    return int(found[0]["n"]) if found else 0
