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
CROSSED = """
import pathlib, sys, tempfile, threading
folder = pathlib.Path(tempfile.mkdtemp())
late = "import __main__ as m; m.begun.set(); m.go.wait(60); import plain_one; x = 1"
plain = "import __main__ as m; m.go.set(); import late_one; y = getattr(late_one, 'x', None)"
(folder / "late_one.py").write_text(late)
(folder / "plain_one.py").write_text(plain)
sys.path.insert(0, str(folder))
sys.modules["__main__"].begun, sys.modules["__main__"].go = threading.Event(), threading.Event()
sys.meta_path[0]._names |= {"late_one"}
import late_one
first = threading.Thread(target=lambda: late_one.x, daemon=True)
first.start()
assert begun.wait(60)
second = threading.Thread(target=lambda: __import__("plain_one"), daemon=True)
second.start()
first.join(60); second.join(60)
assert not first.is_alive() and not second.is_alive(), "they wait for ever"
assert late_one.x == 1
"""
USED = {
    "jsonschema": "import jsonschema; jsonschema.validate(1, {'type': 'integer'})",
    "requests": "from requests import Session; Session().close()",
    "a part of one": "import yaml.nodes; import yaml; assert yaml.safe_load('a: [1]') == {'a': [1]}",
    "all of one": "from yaml import *; assert safe_load('1') == 1",
    "what it has not": "import yaml; assert not hasattr(yaml, 'colour') and yaml.safe_load('1') == 1",
    "its version": "import requests, yaml; assert requests.__version__ and yaml.__version__ and requests.__title__",
    "what it makes when it is asked": "import warnings; warnings.simplefilter('ignore')\n"
    "import jsonschema; assert jsonschema.RefResolver and jsonschema.__version__",
    "two that wait for each other": CROSSED,
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
