"""The farm's image and its executors', made of this checkout's environment: Python, Ray, and for renders POV-Ray."""

import configparser
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools.kubernetes import images, oci, place

CHECKOUT = place.HERE.parents[1]
PYTHON = CHECKOUT / ".venv" / "bin" / "python"
EXECUTOR, FARM = "localhost/elastic-farm-executor:tests", "localhost/elastic-farm:tests"
ENV = {"PATH": f"/opt/python/bin:{oci.PATH}", "PYTHONDONTWRITEBYTECODE": "1"}
BUILDING = ["ray", "pip", "setuptools", "hatchling"]
TOOLS = ["setpriv", "unshare"]  # by which an executor keeps its tasks apart
RENDERING = ["povray"]
RENDERING_FILES = ["/usr/share/povray-3.7", "/etc/povray"]
SCRIPT = "#!/opt/python/bin/python3\nimport sys\nfrom {module} import {name}\nsys.exit({name}())\n"


def bring_executor() -> None:
    """A Python with Ray, POV-Ray, and nothing of the farm's."""
    images.have(EXECUTOR, images.key_of(*_ground()), _executor)


def bring_farm() -> None:
    """All that the service needs, and the farm itself."""
    images.have(FARM, images.key_of(*_ground(), *_sources()), _farm)


def archives() -> list[Path]:
    """Both as OCI archives, for who wants to push them somewhere."""
    farm = images.archive(FARM, images.key_of(*_ground(), *_sources()), _farm)
    return [farm, images.archive(EXECUTOR, images.key_of(*_ground()), _executor)]


def _executor(_work: Path) -> oci.Image:
    shell, python, ray, programs, _ = _layers()
    return oci.Image(EXECUTOR, [shell, python, ray, programs], ENV, user="1000:1000")


def _farm(work: Path) -> oci.Image:
    return oci.Image(FARM, [*_layers(), _own(work)], ENV, user="1000:1000")


def _layers() -> list[Path]:
    """What does not change with the farm's sources: shell, Python, Ray, programs, and what the service needs."""
    folder = place.images() / f"layers-{images.key_of(*_ground())}"
    if not folder.exists():
        for old in place.images().glob("layers-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=place.images()) as work:
            made = _made(Path(work))
            (Path(work) / "done").mkdir()
            for number, layer in enumerate(made):
                layer.rename(Path(work) / "done" / f"{number}.tar")
            (Path(work) / "done").rename(folder)
    return sorted(folder.iterdir())


def _made(work: Path) -> list[Path]:
    ray = images.site_layer(work, PYTHON, "ray", BUILDING)
    programs = images.programs_layer(work, [*TOOLS, *RENDERING], RENDERING_FILES)
    needs = images.site_layer(work, PYTHON, "needs", ["elastic-farm"], besides=BUILDING)
    return [images.shell_layer(work), images.python_layer(work, PYTHON), ray, programs, needs]


def _ground() -> list[str | Path]:
    here = [CHECKOUT / "requirements" / "dev.txt", Path(__file__), place.HERE / "images.py", place.HERE / "oci.py"]
    return [sys.version, *here]


def _sources() -> list[Path]:
    names = ["farm", "executors", "schedules", "charts"]
    found = (file for name in names for file in (CHECKOUT / name).rglob("*"))
    return [CHECKOUT / "pyproject.toml", *sorted(f for f in found if f.is_file() and "__pycache__" not in f.parts)]


def _own(work: Path) -> Path:
    """The wheel, unpacked where the image's Python looks, and its scripts."""
    words = [PYTHON, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*words, "--disable-pip-version-check", "-w", str(work), str(CHECKOUT)], check=True)
    root = work / "own"
    site = root / images.site_folder(PYTHON)
    site.mkdir(parents=True)
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    _scripts(site, root / "opt" / "python" / "bin")
    return images.tar(root)


def _scripts(site: Path, target: Path) -> None:
    target.mkdir(parents=True)
    (entries,) = site.glob("*.dist-info/entry_points.txt")
    told = configparser.ConfigParser()
    told.read(entries)
    for name, where in told["console_scripts"].items():
        module, _, function = where.partition(":")
        (target / name).write_text(SCRIPT.format(module=module, name=function))
        (target / name).chmod(0o755)
