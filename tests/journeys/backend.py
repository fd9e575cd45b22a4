"""A build backend of a few lines, for packages that are built without the network."""

BACKEND = """
import os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "%(name)s-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        def add(path, text):
            wheel.writestr(zipfile.ZipInfo(path), text)
        add("%(name)s.py", open("%(name)s.py").read())
        add("%(name)s-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: %(name)s\\nVersion: 1\\n")
        add("%(name)s-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        add("%(name)s-1.dist-info/RECORD", "")
    return name
"""
