"""What Ray imports and nobody needs is not loaded; who does need it gets it whole."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
RAY = """
import sys
from executors.site.late import OF_RAY, come_late
come_late()
come_late()
import ray
import ray._private.worker, ray.util.scheduling_strategies, ray.runtime_env
loaded = [name for name in sys.modules if name.split(".")[0] in (*OF_RAY, "urllib3", "referencing")]
assert sorted(loaded) == sorted(OF_RAY), loaded
assert len([f for f in sys.meta_path if "late" in type(f).__module__]) == 1
"""
USED = {
    "jsonschema": "import jsonschema; jsonschema.validate(1, {'type': 'integer'})",
    "requests": "from requests import Session; Session().close()",
    "a part of one": "import yaml.nodes; import yaml; assert yaml.safe_load('a: [1]') == {'a': [1]}",
    "all of one": "from yaml import *; assert safe_load('1') == 1",
    "what it has not": "import yaml; assert not hasattr(yaml, 'colour') and yaml.safe_load('1') == 1",
    "two at once": "import threading, requests\n"
    "found = []\n"
    "ways = [threading.Thread(target=lambda: found.append(requests.Session)) for _ in range(8)]\n"
    "[way.start() for way in ways]; [way.join() for way in ways]\n"
    "assert found == [requests.Session] * 8",
}


def runs(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_ray_comes_without_them():
    runs(RAY)


@pytest.mark.parametrize("used", USED)
def test_who_uses_one_has_it(used: str):
    runs("from executors.site.late import come_late\ncome_late()\n" + USED[used])
