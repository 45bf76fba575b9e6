"""Lines a second of the log parsers, beside a plain pass over the same lines.

Run as `python -m tests.bench.parsers [LINES]`. Logs are mostly lines that are nobody's business: rows of 0 and 1 % are what a
host writes, 10 % is a storm, 100 % the worst case. A figure is measured beside the plain pass because machines differ.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engine.logparse import LineParser, LogSource, ReportAssembler

CORPUS = Path(__file__).parents[1] / "data" / "corpus" / "lines.jsonl"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SOURCES: tuple[LogSource, ...] = ("kernel", "dockerd", "kubelet")


def stream(source: LogSource, count: int, share: float) -> list[str]:
    """`count` lines of the corpus, of which `share` are of a class; the same every time."""
    entries = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    mine = [entry for entry in entries if entry["source"] == source and "line" in entry]
    ours = [entry["line"] for entry in mine if entry["class"] != "none"]
    others = [entry["line"] for entry in mine if entry["class"] == "none"]
    dice = random.Random(source)
    return [dice.choice(ours if dice.random() < share else others) for _ in range(count)]


def rate(work: Callable[[str], object], lines: list[str]) -> float:
    """Lines a second, the best of three."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for line in lines:
            work(line)
        best = max(best, len(lines) / (time.perf_counter() - start))
    return best


def main(count: int = 100_000) -> None:
    """Print one row for each source and mix."""
    print(f"{'source':9} {'recognised':>10} {'plain pass':>12} {'parse':>12} {'ratio':>6} {'assemble':>12} {'ratio':>6}")
    for source in SOURCES:
        for share in (0.0, 0.01, 0.1, 1.0):
            lines = stream(source, count, share)
            parser, assembler = LineParser(source), ReportAssembler(source)
            plain = rate(str.isascii, lines)
            parse = rate(lambda line, parser=parser: parser.feed(line, NOW), lines)  # type: ignore[misc]
            live = rate(lambda line, assembler=assembler: assembler.feed(line, NOW), lines)  # type: ignore[misc]
            print(
                f"{source:9} {share:10.0%} {plain:12,.0f} {parse:12,.0f} {plain / parse:6.1f} {live:12,.0f} {plain / live:6.1f}"
            )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
