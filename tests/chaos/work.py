"""The 200 tasks of a run, each of which writes down that it began and that it ended; and what must be true of that."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farm.client import Client
from tests.journeys.shell import Shell

TASKS = 200
FRAMES = 4
LIMITED = {"processes": 64}  # more than it needs: only so that there are control groups to be left
RETRIES = 4  # a killed task is a failed one, and a fault may hit the same task again
PACKAGES = {"chaos-base": (), "chaos-left": ("chaos-base",), "chaos-top": ("chaos-left",)}
SCENE = "camera { location <0,1,-4> look_at 0 } light_source { <5,5,-5> rgb 1 } sphere { clock*y, 1 pigment { rgb x } }"
BACKEND = '''"""Makes a wheel out of nothing."""
import os, zipfile
NAME, VERSION = {name!r}, "1.0"
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    base = NAME.replace("-", "_")
    info = f"{{base}}-{{VERSION}}.dist-info"
    file = f"{{base}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, file), "w") as wheel:
        def put(path, text):
            wheel.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
        put(f"{{base}}.py", "")
        put(f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n")
        put(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        put(f"{{info}}/RECORD", "")
    return file
'''


@dataclass
class Work:
    """Submits, and reads what the tasks have written. `folder` is outside of the farm's home."""

    folder: Path
    seed: int
    delicate: bool = True  # with renders and a rebuild, whose tasks may not fail once
    logs: bool = True  # are whole afterwards
    jobs: list[int] = field(default_factory=list)
    fragile: set[int] = field(default_factory=set)  # jobs whose tasks may not fail: renders and rebuilds
    acknowledged: dict[str, int] = field(default_factory=dict)  # those that were submitted in a fault, by name
    refused: list[str] = field(default_factory=list)  # of these names there may be a job all the same
    wrong: list[str] = field(default_factory=list)  # what a caller may never be told

    def __post_init__(self) -> None:
        self.effects = self.folder / "effects"
        self.effects.touch()

    def argv(self, seconds: float, then: str = "") -> list[str]:
        """Says B, works, says E; both lines are one write each, so they never mix."""
        script = 'echo "B $FARM_ATTEMPT" >> "$0"; echo "log of $FARM_ATTEMPT" || exit 7; sleep "$1"; ' + then
        return ["sh", "-c", script + 'echo "E $FARM_ATTEMPT" >> "$0"', str(self.effects), f"{seconds:.2f}"]

    def submit(self, client: Client, shell: Shell) -> None:
        """Everything but the last job, which is for `submit_late`."""
        rest = TASKS - 22 - 16 - 12 - 1
        if self.delicate and shutil.which("povray"):
            self.jobs.append(self._render(shell))
            rest -= FRAMES
        if self.delicate:
            self.jobs.append(self._rebuild(shell))
            rest -= len(PACKAGES)
        self.fragile = set(self.jobs)
        self.jobs.append(self._post(client, *self._steps()))
        self.jobs.append(self._post(client, {"name": "graph", "items": list(self._graph()), "retries": RETRIES}))
        slow = rest // 4
        self.jobs.append(self._post(client, self._array("slow", slow, 0.25) | LIMITED, after=[self.jobs[-1]]))
        self.jobs.append(self._post(client, self._array("short", rest - slow, 0.02)))
        self.jobs.append(self._post(client, self._array("retried", 12, 0.02, fails=True)))

    def submit_late(self, shell: Shell) -> None:
        """While faults happen: the command line alone, which also works without a service."""
        said = shell("submit", "--retries", str(RETRIES), "--after", str(self.jobs[-2]), "--", *self.argv(0.05))
        self.jobs.append(int(said.split()[1]))

    def _post(self, client: Client, *steps: Any, after: list[int] | None = None) -> int:
        job = {"name": "chaos", "owner": "chaos", "steps": steps, "after": after or []}
        return int(client.post("/v1/jobs", job)["id"])

    def _array(self, name: str, size: int, seconds: float, fails: bool = False) -> dict[str, Any]:
        """With `fails`, every task fails once and is allowed to."""
        array = {"first": 1, "last": size, "step": 1}
        flag = f"{self.folder}/failed-$FARM_TASK"
        then = f'if [ ! -e "{flag}" ]; then : > "{flag}"; exit 9; fi; ' if fails else ""
        return {"name": name, "argv": self.argv(seconds, then), "array": array, "retries": RETRIES}

    def _steps(self) -> Iterator[dict[str, Any]]:
        """One, twenty that wait for it and make files, one that gathers these."""
        fan = self._array("fan", 20, 0.05)
        fan["argv"][2] += '; echo "$FARM_TASK" > out-$FARM_INDEX || exit 7'
        yield {"name": "prepare", "argv": self.argv(0.1), "retries": RETRIES}
        yield fan | {"after": ["prepare"], "outputs": ["out-*"]}
        then = "test $(ls all | wc -l) = 20 || exit 1; "
        yield {"name": "gather", "argv": self.argv(0.1, then), "after": ["fan"], "gather": "all", "retries": RETRIES}

    def _graph(self) -> Iterator[dict[str, Any]]:
        """Sixteen tasks that wait for some of those before them."""
        choose = random.Random(self.seed)
        names = [f"n{i}" for i in range(16)]
        for i, name in enumerate(names):
            after = sorted(set(choose.choices(names[:i], k=2))) if i else []
            yield {"name": name, "argv": self.argv(0.1), "after": after}

    def _render(self, shell: Shell) -> int:
        scene = self.folder / "ball.pov"
        scene.write_text(SCENE)
        return int(shell("render", str(scene), "--frames", f"1-{FRAMES}", "--size", "64x48").split()[1])

    def _rebuild(self, shell: Shell) -> int:
        for name, needs in PACKAGES.items():
            place = self.folder / "tree" / name
            place.mkdir(parents=True)
            (place / "backend.py").write_text(BACKEND.format(name=name))
            (place / "pyproject.toml").write_text(
                f'[build-system]\nrequires = {list(needs)}\nbuild-backend = "backend"\nbackend-path = ["."]\n'
                f'[project]\nname = "{name}"\nversion = "1.0"\n'
            )
        return int(shell("rebuild", str(self.folder / "tree")).split()[1])

    # ── what they wrote ──

    def count(self) -> int:
        """Lines so far: how far the run is, whatever the farm says."""
        with self.effects.open("rb") as file:
            return sum(1 for _ in file)

    def wrote(self) -> tuple[Counter[str], Counter[str]]:
        """How often each attempt began, and ended."""
        words = [line.split() for line in self.effects.read_text().splitlines()]
        return Counter(a for k, a in words if k == "B"), Counter(a for k, a in words if k == "E")
