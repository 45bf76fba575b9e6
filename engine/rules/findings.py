"""What a check found: where, what, and what would be right; as text for people and as JSON for tools. Knows no rule."""

import difflib
import json
import os.path
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from engine.rules.catalogue import TOO_MANY, Check
from engine.rules.model import Position

MAX_FINDINGS = 1_000
"""A folder with more is fixed from the top; the list would only get in the way."""
_EXCERPT = 120
"""Characters of a line that are shown: what fits beside its number on a wide terminal."""
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file with its extent; line, column and last line count from 1, the length in characters."""

    file: str
    line: int
    column: int
    length: int = 1
    last_line: int = 0
    """Where it ends when it runs over several lines; 0: where it starts."""

    @property
    def position(self) -> Position:
        """Where it starts."""
        return Position(self.file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `expected` says what may stand there, `nearest` the known name that is most like it, `hint` what to do."""

    check: Check
    position: Position
    length: int
    message: str
    expected: str = ""
    nearest: str = ""
    hint: str = ""
    excerpt: str = ""
    """The line, as it stands in the file; empty when the file could not be read as text."""

    @property
    def is_error(self) -> bool:
        """False for a warning, which does not keep a folder from being used."""
        return self.check.severity == "error"


class Report:
    """Gathers findings, and the texts of the files they are about."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._order: dict[str, int] = {}
        self._found: dict[Finding, None] = {}

    def source(self, file: str, text: str) -> None:
        """Remember a file's text for the excerpts."""
        self._lines[file] = text.split("\n")

    def add(self, check: Check, span: Span, message: str, *, expected: str = "", nearest: str = "", hint: str = "") -> None:
        """Add a finding; the same one twice is one. Beyond the bound they are dropped, and one that says so is added."""
        self._order.setdefault(span.file, len(self._order))
        if len(self._found) >= MAX_FINDINGS:
            check, message = TOO_MANY, f"more than {MAX_FINDINGS} findings; the rest is not shown"
            span, expected, nearest, hint = Span(span.file, 1, 1), "", "", ""
            if any(finding.check is TOO_MANY for finding in self._found):
                return
        lines = self._lines.get(span.file, [])
        excerpt = lines[span.line - 1].rstrip("\r") if 0 < span.line <= len(lines) else ""
        length = max(1, min(span.length, len(excerpt) - span.column + 1))
        finding = Finding(check, span.position, length, message, expected, nearest, hint, excerpt)
        self._found.setdefault(finding)

    def within(self, span: Span, part: str) -> Span:
        """Where a part of a longer text stands: the placeholder in a summary. The whole span when it is not found as written."""
        lines = self._lines.get(span.file, [])
        for number in range(span.line, min(max(span.line, span.last_line), len(lines)) + 1):
            start = span.column - 1 if number == span.line else 0
            found = lines[number - 1].find(part, start)
            if found >= 0:
                return Span(span.file, number, found + 1, len(part))
        return span

    @property
    def full(self) -> bool:
        """Nothing more is taken: whoever looks for more may stop."""
        return len(self._found) > MAX_FINDINGS

    def has_error_at(self, span: Span) -> bool:
        """An error was found there: what follows from it is no finding of its own."""
        return any(finding.is_error and finding.position == span.position for finding in self._found)

    def mentions(self, file: str) -> bool:
        """Whether there is a finding about a file."""
        return any(finding.position.file == file for finding in self._found)

    @property
    def count(self) -> int:
        """How many there are so far."""
        return len(self._found)

    @property
    def failed(self) -> bool:
        """An error is among the findings."""
        return any(finding.is_error for finding in self._found)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, by file, line and column."""
        return tuple(sorted(self._found, key=lambda it: (it.position.file, it.position.line, it.position.column, it.check.id)))


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, or nothing when none is much like it."""
    # difflib is quadratic in the length: a name of a megabyte is like none of ours anyway.
    close = difflib.get_close_matches(name[:100], sorted(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def one_of(names: Iterable[str]) -> str:
    """`one of a, b, c`."""
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"one of {', '.join(listed)}"


def _clean(text: str) -> str:
    """Without characters that a terminal would act on; each takes one column, so that the caret still fits."""
    return "".join(it if it.isprintable() else " " if it == "\t" else "\N{REPLACEMENT CHARACTER}" for it in text)


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + _CUT


def _excerpt(finding: Finding) -> list[str]:
    if not finding.excerpt:
        return []
    start = finding.position.column - 1
    shift = max(0, start - _EXCERPT // 2) if len(finding.excerpt) > _EXCERPT else 0
    shown = _clean(finding.excerpt[shift : shift + _EXCERPT])
    caret = min(start - shift, len(shown))
    marks = "^" * max(1, min(finding.length, len(shown) - caret))
    number = str(finding.position.line)
    return [f"{number:>5} | {shown}", f"{'':>5} | {' ' * caret}{marks}"]


def _lines(finding: Finding) -> list[str]:
    check = finding.check
    message = _shorten(_clean(finding.message), 400)
    lines = [f"{_clean(str(finding.position))}: {check.severity} {check.id} {check.name}: {message}", *_excerpt(finding)]
    if finding.nearest:
        lines.append(f"{'':>5} = did you mean `{finding.nearest}`?")
    if finding.expected:
        lines.append(f"{'':>5} = expected: {_shorten(_clean(finding.expected), 600)}")
    lines.append(f"{'':>5} = {_shorten(_clean(finding.hint or check.fix), 400)}")
    return lines


def render_text(findings: Iterable[Finding]) -> str:
    """For people: each finding with its line and a caret, and a count at the end. Ends with a newline; empty for none."""
    found = tuple(findings)
    if not found:
        return ""
    errors = sum(finding.is_error for finding in found)
    warnings = len(found) - errors
    blocks = ["\n".join(_lines(finding)) for finding in found]
    counts = ", ".join(_count(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number)
    return "\n\n".join([*blocks, counts]) + "\n"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def to_json(finding: Finding) -> dict[str, Any]:
    """One finding as a JSON object; what is empty is left out, `end_column` is the first column after it."""
    body = {
        "id": finding.check.id,
        "check": finding.check.name,
        "severity": finding.check.severity,
        "file": finding.position.file,
        "line": finding.position.line,
        "column": finding.position.column,
        "end_column": finding.position.column + finding.length,
        "message": finding.message,
        "expected": finding.expected,
        "nearest": finding.nearest,
        "hint": finding.hint or finding.check.fix,
        "excerpt": finding.excerpt,
    }
    return {name: value for name, value in body.items() if value != ""}


SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_sarif(findings: Iterable[Finding], root: str, version: str) -> str:
    """For code hosts: SARIF 2.1.0 (OASIS), with the findings' files relative to a folder. Ends with a newline.

    Args:
        findings: what was found.
        root: folder that paths are made relative to, such as the checkout; a file elsewhere keeps its path.
        version: of dockwarden.
    """
    found = tuple(findings)
    checks = {finding.check.id: finding.check for finding in found}
    driver = {
        "name": "dockwarden",
        "version": version,
        "rules": [
            {
                "id": check.id,
                "name": check.name,
                "shortDescription": {"text": check.what},
                "help": {"text": f"{check.why} {check.fix}"},
                "defaultConfiguration": {"level": check.severity},
            }
            for check in checks.values()
        ],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": [_sarif(it, root) for it in found]}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=True, indent=2) + "\n"


def _sarif(finding: Finding, root: str) -> dict[str, Any]:
    place = finding.position
    extras = [f"Did you mean `{finding.nearest}`?" if finding.nearest else "", finding.hint or finding.check.fix]
    file = os.path.relpath(place.file, root) if root else place.file
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.line,
        "endColumn": place.column + finding.length,
    }
    location = {"artifactLocation": {"uri": quote(place.file if file.startswith("..") else file)}, "region": region}
    return {
        "ruleId": finding.check.id,
        "level": finding.check.severity,
        "message": {"text": ". ".join([finding.message, *filter(None, extras)])},
        "locations": [{"physicalLocation": location}],
    }


def render_json(findings: Iterable[Finding]) -> str:
    """For tools: one JSON object with the counts and every finding. Ends with a newline."""
    found = tuple(findings)
    errors = sum(finding.is_error for finding in found)
    body = {"errors": errors, "warnings": len(found) - errors, "findings": [to_json(finding) for finding in found]}
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"
