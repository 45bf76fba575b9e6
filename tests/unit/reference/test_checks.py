"""The reference page of the checks."""

from pathlib import Path

from engine.reference.checks import render_page
from engine.rules.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[3]


def test_page_is_current() -> None:
    """docs/checks.md is what the catalogue says; `scripts/check-docs` writes it anew."""
    assert (ROOT / "docs" / "checks.md").read_text(encoding="utf-8") == render_page()


def test_ids_are_in_order_and_names_unique() -> None:
    """Ids rise and names differ, so that a page has one entry for each."""
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert len({check.name for check in CATALOGUE.values()}) == len(CATALOGUE)
