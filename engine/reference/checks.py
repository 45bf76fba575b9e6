"""The reference page of the checks, from the catalogue. Pure: `scripts/check-docs` writes it to docs/checks.md."""

from collections.abc import Iterator
from itertools import groupby

from engine.rules.catalogue import CATALOGUE, Check

_CHAPTERS = {
    "0": "Files",
    "1": "Keys and values",
    "2": "Names",
    "3": "Types",
    "4": "Logic",
    "5": "Tests",
    "6": "Overrides",
}
"""By the first digit of the number of an id."""

_HEAD = """\
# What the check finds

`dockwarden check [DIR]` reads every rules file of a folder and reports all faults at once: where, what, what may stand there,
and the nearest right name. Errors keep the folder from being used (exit 1), warnings do not. `--format json` prints the same
for tools.

This page is written by `scripts/check-docs` from `engine/rules/catalogue.py`.
"""


def render_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    for digit, checks in groupby(CATALOGUE.values(), key=lambda check: check.id[2]):
        parts.append(f"\n## {_CHAPTERS[digit]}\n")
        parts.extend(line for check in checks for line in _entry(check))
    return "".join(parts)


def _entry(check: Check) -> Iterator[str]:
    yield f"\n### {check.id} {check.name}\n\n"
    if check.severity == "warning":
        yield "*A warning.* "
    yield f"{check.what}\n\n- **Why:** {check.why}\n- **What to do:** {check.fix}\n"
