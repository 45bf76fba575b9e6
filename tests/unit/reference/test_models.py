"""The reference pages, and the examples in what is written by hand about rules."""

import re
from pathlib import Path

import pytest

from engine.facts import BUILT_IN
from engine.reference.models import EMITTED_BY, PAGES

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_current(name: str) -> None:
    """docs/reference is what the models say; `scripts/check-docs` writes it anew."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_kind_says_where_it_comes_from() -> None:
    """A new fact kind needs its source in the reference."""
    assert set(EMITTED_BY) == {model.KIND for model in BUILT_IN}


@pytest.mark.parametrize("name", PAGES)
def test_tables_have_as_many_cells_as_heads(name: str) -> None:
    """No description breaks its table."""
    width = 0
    for line in PAGES[name]().splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells == width or not width or not cells, line
        width = cells
