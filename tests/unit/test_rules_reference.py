"""The examples of docs/reference/rules.md and rule-tests.md: good rules files, and the tests beside them pass."""

import re
from pathlib import Path

import pytest

from engine.rule_tests.cases import EXPECT_KEYS, GIVEN_KEYS, TEST_KEYS
from engine.rule_tests.folder import read_all
from engine.rule_tests.runner import run_all
from engine.rules.reader import read_rules, render_text

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGE = (REFERENCE / "rules.md").read_text(encoding="utf-8")
TESTS_PAGE = (REFERENCE / "rule-tests.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE + TESTS_PAGE, re.DOTALL)
PAIRS = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


@pytest.mark.parametrize(("rules", "tests"), PAIRS, ids=range(len(PAIRS)))
def test_examples_are_right(tmp_path: Path, rules: str, tests: str) -> None:
    """The check finds nothing in the rules, and their tests pass."""
    (tmp_path / "example.yaml").write_text(rules)
    (tmp_path / "example.test.yaml").write_text(tests)
    checked = read_rules(tmp_path)
    cases = read_all(tmp_path, checked)
    assert render_text(checked.report.findings) == ""
    assert checked.ruleset is not None
    assert cases
    assert [problem for result in run_all(cases, checked.ruleset) for problem in result.problems] == []


def test_the_override_of_the_page_fits_its_rules(tmp_path: Path) -> None:
    """What the page overrides is there."""
    (text,) = re.findall(r"\n    overrides:\n(?:    .*\n)+", PAGE)
    (tmp_path / "overrides").mkdir()
    (tmp_path / "overrides" / "all.yaml").write_text("\n".join(line[4:] for line in text.splitlines()))
    for number in (1, 2):
        (tmp_path / f"{number}.yaml").write_text(PAIRS[number][0])
    checked = read_rules(tmp_path, ("all.yaml",))
    assert render_text(checked.findings) == ""
    assert len(checked.changes) == 6


def test_every_key_of_the_test_language_is_explained() -> None:
    """The page names each key of a test, of a given fact and of an expectation."""
    for key in (*TEST_KEYS, *GIVEN_KEYS, *EXPECT_KEYS):
        assert f"`{key}`" in TESTS_PAGE or key == "params", key
