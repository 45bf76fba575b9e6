"""Lines a second of the log parsers, beside a plain pass over the same lines.

Run as `python -m tests.bench.parsers [LINES]`. Logs are mostly lines that are nobody's business: rows of 0 and 1 % are what a
host writes, 10 % is a storm, 100 % the worst case. A figure is measured beside the plain pass because machines differ. Lines come
again, as they do in a storm; in the last column none does.
"""

import json
import random
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engine.logparse import LineParser, LogSource, ReportAssembler

CORPUS = Path(__file__).parents[1] / "data" / "corpus" / "lines.jsonl"
NUMBER = re.compile(r"(?<![\w.:-])\d{3,}(?![\w.:])")
BLOCK = 250
"""Lines that a log file's reader takes at once: 32 KiB."""

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


def distinct(lines: list[str]) -> list[str]:
    """The same lines with other numbers in each, so that none comes again."""
    return [NUMBER.sub(str(10_000_000 + number), line, count=4) for number, line in enumerate(lines)]


def by_blocks(assembler: ReportAssembler, lines: list[str]) -> float:
    """Lines a second of a log read as a file is: many lines at once, of which those worth reading are looked at."""
    blocks = [[line.encode() for line in lines[begin : begin + BLOCK]] for begin in range(0, len(lines), BLOCK)]
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for block in blocks:
            for number in assembler.pick(block):
                assembler.feed(block[number].decode(), NOW)
        best = max(best, len(lines) / (time.perf_counter() - start))
    return best


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
    print(f"{'source':9} {'recognised':>10} {'plain pass':>12} {'parse':>12} {'assemble':>12} {'in blocks':>12} {'distinct':>12}")
    for source in SOURCES:
        for share in (0.0, 0.01, 0.1, 1.0):
            lines = stream(source, count, share)
            parser, assembler = LineParser(source), ReportAssembler(source)
            plain = rate(str.isascii, lines)
            parse = rate(lambda line, parser=parser: parser.feed(line, NOW), lines)  # type: ignore[misc]
            live = rate(lambda line, assembler=assembler: assembler.feed(line, NOW), lines)  # type: ignore[misc]
            blocks = by_blocks(assembler, lines)
            others = by_blocks(assembler, distinct(lines))
            print(f"{source:9} {share:10.0%} {plain:12,.0f} {parse:12,.0f} {live:12,.0f} {blocks:12,.0f} {others:12,.0f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
