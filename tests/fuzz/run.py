"""`python -m tests.fuzz.run TARGET SECONDS`: feed a parser by coverage with atheris; what it finds is kept."""

import importlib
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main(name: str, seconds: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["farm", "executors", "schedules"]):
        target = importlib.import_module(f"tests.fuzz.targets.{name}")
    with tempfile.TemporaryDirectory() as fresh:  # what is merely new is not kept: the corpora stay small
        words = Path(fresh, "words")
        words.write_text("".join(_quoted(token) for token in target.TOKENS if 0 < len(token) < 60))
        Path(fresh, "corpus").mkdir()
        options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=3000", f"-dict={words}"]
        options += [f"-artifact_prefix={CORPUS / name}/found-", str(Path(fresh, "corpus")), str(CORPUS / name)]
        atheris.Setup([sys.argv[0], *options], target.target)
        atheris.Fuzz()


def _quoted(token: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token.encode()) + '"\n'


if __name__ == "__main__":
    main(*sys.argv[1:])
