"""Makes one template: `python -m executors.vmclone.build SPEC`. What goes wrong is left in SPEC's place with the ending
`.failed`, for whoever waits for it."""

import sys
from pathlib import Path

from executors.errors import Refused
from executors.vmclone.recipe import Spec
from executors.vmclone.template import build


def main(file: Path) -> int:
    failed = file.with_suffix(".failed")
    try:
        failed.unlink(missing_ok=True)
        build(Spec.read(file.read_text()), _tell)
    except Refused as error:
        failed.write_text(str(error))
        return 1
    except Exception as error:
        failed.write_text(f"the template of the clones could not be made: {type(error).__name__}: {error}")
        raise
    return 0


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
