"""Faulty rules files and what the check says of each, word for word. `scripts/golden-rules` writes the expected texts anew."""

import json
from pathlib import Path

import pytest

from engine.rules.catalogue import CATALOGUE
from engine.rules.checks import run_advice
from engine.rules.reader import check_texts, render_json, render_text

ROOT = Path(__file__).resolve().parents[3]
CASES = sorted((ROOT / "tests" / "golden" / "rules").iterdir())
ADVICE = sorted((ROOT / "tests" / "golden" / "advice").iterdir())
BY_FOLDER = {"DW004", "DW116", "DW117", "DW309", "DW312", "DW410", "DW411", "DW412"}
"""DW004 takes a thousand findings (test_findings.py); the others are advice, and about more than texts (test_folder.py)."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_text_is_as_expected(case: Path) -> None:
    """The findings of a faulty file, with places, excerpts, carets and advice, are exactly those that were reviewed."""
    checked = check_texts([("rules.yaml", (case / "rules.yaml").read_bytes())])
    assert render_text(checked.findings) == (case / "expected.txt").read_text(encoding="utf-8")
    assert checked.findings, "a golden file without a fault shows nothing"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_json_says_the_same(case: Path) -> None:
    """Tools get one entry for each finding, with a place that lies in the file and a known id."""
    data = (case / "rules.yaml").read_bytes()
    checked = check_texts([("rules.yaml", data)])
    body = json.loads(render_json(checked.findings))
    assert len(body["findings"]) == len(checked.findings) == body["errors"] + body["warnings"]
    lines = data.count(b"\n") + 1
    for finding in body["findings"]:
        assert finding["id"] in CATALOGUE
        assert 1 <= finding["line"] <= lines
        assert 1 <= finding["column"] < finding["end_column"]
        assert finding["hint"]


@pytest.mark.parametrize("case", ADVICE, ids=lambda case: case.name)
def test_advice_is_as_expected(case: Path) -> None:
    """The warnings of `check` about what is allowed and seldom meant, word for word; a sidecar finds none of them."""
    checked = check_texts([("rules.yaml", (case / "rules.yaml").read_bytes())])
    assert not {finding.check.id for finding in checked.findings} & BY_FOLDER
    run_advice(checked.rules, checked.kinds, checked.report)
    assert render_text(checked.report.findings) == (case / "expected.txt").read_text(encoding="utf-8")


def test_every_check_is_shown() -> None:
    """Each check that a single file can run into stands in at least one golden file."""
    texts = "".join((case / "expected.txt").read_text(encoding="utf-8") for case in CASES)
    missing = {ident for ident in CATALOGUE if f" {ident} " not in texts}
    # Those above DW500 are about the tests of rules, not about rules.
    assert {ident for ident in missing if ident < "DW500"} == BY_FOLDER


def test_there_are_enough_of_them() -> None:
    """The collection covers what people get wrong: at least sixty files."""
    assert len(CASES) >= 60
