"""The program of an executor elsewhere: this package as one file that Python runs, `python3 executor.pyz`."""

import io
import zipfile
from pathlib import Path

import executors

_MAIN = """\
import sys
if sys.version_info < (3, 11):
    sys.exit("farm: this Python is %d.%d, and an executor needs 3.11 or newer" % sys.version_info[:2])
if any(word.split("=")[0] == "--join" for word in sys.argv[1:]):
    from executors.site.standby import main
else:
    from executors.site.elsewhere import main
sys.exit(main())
"""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same files make the same bytes


def packed() -> bytes:
    """The bytes of the file; equal for equal sources."""
    root = Path(executors.__file__).parent
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for file in sorted(root.rglob("*.py")):
            _add(archive, str(file.relative_to(root.parent)), file.read_bytes())
    return b"#!/usr/bin/env python3\n" + out.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), data, zipfile.ZIP_DEFLATED)
