"""The command line: `farm` and `submit-job`. Everything is imported late, because start-up time is felt."""

import sys
from collections.abc import Sequence

from farm import __version__
from farm.cli.commands import COMMANDS, overview

ABOUT: tuple[list[str], ...] = ([], ["--help"], ["-h"], ["--version"])  # what is answered without any command


def main(argv: Sequence[str] | None = None) -> int:
    """`farm …`: the exit status. 0 fine, 1 a job failed, 2 the request is wrong, 3 the farm is, 130 Ctrl-C."""
    arguments = hoist(list(sys.argv[1:] if argv is None else argv))
    try:
        from farm.cli.errors import guarded
    except KeyboardInterrupt:  # nothing has been done yet
        return 130
    return guarded(_about if arguments in ABOUT else _run, arguments)


def _about(arguments: list[str]) -> int:
    print(f"farm {__version__}" if arguments == ["--version"] else overview())
    return 0


def submit_job(argv: Sequence[str] | None = None) -> int:
    """`submit-job …` is `farm submit …`."""
    return main(["submit", *(sys.argv[1:] if argv is None else argv)])


def hoist(arguments: list[str]) -> list[str]:
    """Move `--home H` and `--json` from before the command to behind it, where the commands take them."""
    leading: list[str] = []
    rest = list(arguments)
    while rest and (rest[0] == "--json" or rest[0].startswith("--home")):
        takes_value = rest[0] == "--home" and len(rest) > 1
        leading += [rest.pop(0) for _ in range(2 if takes_value else 1)]
    words = 2 if " ".join(rest[:2]) in COMMANDS else 1
    return [*rest[:words], *leading, *rest[words:]]


def _run(arguments: list[str]) -> int:
    from farm.cli.group import root

    words = " ".join(arguments[:2])
    if words in COMMANDS and arguments[0] in COMMANDS:  # `executor` is a command, and `executor unit` another
        arguments = [words, *arguments[2:]]
    return root().main(arguments, prog_name="farm", standalone_mode=False) or 0
