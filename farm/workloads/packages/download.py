"""`python -m farm.workloads.packages.download LOCK DEST`: sdists through pip as it is configured on this machine.

`pip download` runs the backend of every sdist to learn its name, which is minutes for what is seconds of transfer.
Here pip's own finder and downloader are used, with all of its options, and no backend runs. They are no public
interface: `fetch` falls back to `pip download` when this program fails.
"""

import sys
from optparse import Values
from pathlib import Path

from pip._internal.commands.download import DownloadCommand
from pip._internal.network.download import Downloader
from pip._vendor.packaging.specifiers import SpecifierSet

from farm.workloads.packages.lock import Pin, read_lock


class SdistCommand(DownloadCommand):
    """`pip download` that neither resolves nor builds."""

    def run(self, options: Values, args: list[str]) -> int:
        session = self.get_default_session(options)
        finder = self._build_package_finder(options=options, session=session)
        fetch = Downloader(session, "off")
        for pin in read_lock(Path(args[0])):
            best = finder.find_best_candidate(pin.name, SpecifierSet(f"=={pin.version}")).best_candidate
            if best is None:
                print(f"no sdist of {pin.name} {pin.version} where pip looks for packages", file=sys.stderr)  # noqa: T201
                return 1
            fetch(best.link, _folder(options.download_dir, pin))
        return 0


def _folder(base: str, pin: Pin) -> str:
    folder = Path(base, pin.digest)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


if __name__ == "__main__":
    command = SdistCommand("download", "sdists, not built")
    sys.exit(command.main(["--quiet", "--no-binary", ":all:", "--dest", sys.argv[2], sys.argv[1]]))
