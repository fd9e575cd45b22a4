"""Counts the words of a text on a farm, with 1, 2 … slots, and draws how much sooner the answer is there.

    farm up
    python examples/mapreduce/count_words.py [--mib 28] [--slots 1,2] [--out FOLDER]

The text is made by a generator with a seed, so that everybody counts the same one. Each part of it is an item of
`farm.map`; what it gives back is a Counter, and their sum is the answer, which is compared with that of a plain loop.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import farm

SEED = 28
PART = 1 << 20  # characters
WORDS = 5000


def text(mib: int) -> list[str]:
    """Parts of about a MiB each; a few words are much more frequent than most, as in any language."""
    dice = random.Random(SEED)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 11))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    return [_part(dice, words, weights) for _ in range(mib)]


def _part(dice: random.Random, words: Sequence[str], weights: Sequence[float]) -> str:
    found: list[str] = []
    length = 0
    while length < PART:
        more = dice.choices(words, weights, k=10_000)
        found += more
        length += sum(map(len, more)) + len(more)
    return " ".join(found)


def count(part: str) -> Counter[str]:
    """The map: words of one part."""
    return Counter(part.split())


def on_the_farm(parts: Sequence[str], slots: int) -> tuple[Counter[str], float]:
    """The reduce is a sum. Parts are dealt to as many tasks as there are slots."""
    begin = time.monotonic()
    total = Counter[str]()
    for found in farm.map(count, parts, batch=-(-len(parts) // slots), ordered=False, name="count-words"):
        total.update(found)
    return total, time.monotonic() - begin


def main() -> int:
    options = _options()
    parts = text(options.mib)
    begin = time.monotonic()
    truth: Counter[str] = sum(map(count, parts), Counter())
    alone = time.monotonic() - begin
    times = {}
    for slots in options.slots:
        found, times[slots] = on_the_farm(parts, slots)
        assert found == truth, "the farm counts otherwise than a loop does"
    size = sum(map(len, parts))
    curve = {slots: round(times[options.slots[0]] / took, 2) for slots, took in times.items()}
    told = {"bytes": size, "words": truth.total(), "different": len(truth), "loop_s": round(alone, 2)}
    told |= {"seconds": {n: round(took, 2) for n, took in times.items()}, "speed_up": curve}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "speed-up.svg").write_text(drawn(curve))
    (options.out / "counts.json").write_text(json.dumps(truth.most_common(100)))
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def drawn(curve: dict[int, float]) -> str:
    """Speed-up over slots, beside what would be ideal."""
    most = max(max(curve) / min(curve), *curve.values())
    places = {n: (60 + 480 * (n - min(curve)) / max(1, max(curve) - min(curve)), v) for n, v in curve.items()}

    def line(values: Sequence[tuple[float, float]], style: str) -> str:
        points = " ".join(f"{x:.0f},{320 - 280 * v / most:.0f}" for x, v in values)
        return f'<polyline fill="none" stroke-width="2" {style} points="{points}"/>'

    ideal = [(x, n / min(curve)) for n, (x, _) in places.items()]
    marks = [f'<text x="{x:.0f}" y="345" text-anchor="middle">{n}</text>' for n, (x, _) in places.items()]
    marks += [f'<text x="{x:.0f}" y="{310 - 280 * v / most:.0f}">{v}</text>' for x, v in places.values()]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 380" font-family="sans-serif" font-size="14">'
    lines = [line(ideal, 'stroke="#bbb" stroke-dasharray="5 4"'), line(list(places.values()), 'stroke="#2a6f97"')]
    title = '<text x="60" y="370">tasks at once; how many times sooner than with the fewest (broken: ideal)</text>'
    return "\n".join([head, '<rect width="600" height="380" fill="white"/>', *lines, *marks, title, "</svg>\n"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=28)
    parser.add_argument("--slots", type=lambda said: [int(n) for n in said.split(",")], default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("mapreduce-out"))
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
