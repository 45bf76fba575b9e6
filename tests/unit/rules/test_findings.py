"""Findings as text and JSON."""

import json

from engine.rules import catalogue
from engine.rules.findings import MAX_FINDINGS, Report, Span, nearest, render_json, render_sarif, render_text
from engine.rules.reader import check_texts


def test_caret_of_a_long_line() -> None:
    """A line of a megabyte is shown around the fault, with the caret under it."""
    report = Report()
    report.source("f", "x" * 500_000 + "HERE" + "y" * 500_000)
    report.add(catalogue.UNKNOWN_KEY, Span("f", 1, 500_001, 4), "a key")
    _, line, caret, *_ = render_text(report.findings).splitlines()
    assert len(line) < 140
    assert line[caret.index("^") : caret.rindex("^") + 1] == "HERE"


def test_control_characters_do_not_reach_the_terminal() -> None:
    """Escapes and direction marks in the file or in a name are shown as replacement characters; tabs keep their column."""
    report = Report()
    report.source("f", "\tna\u202eme: \x1b[31mred")
    report.add(catalogue.UNKNOWN_KEY, Span("f", 1, 2, 5), "key `na\u202eme\x1b`", nearest="name")
    text = render_text(report.findings)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\t" not in text
    assert json.loads(render_json(report.findings))["findings"][0]["nearest"] == "name"


def test_findings_are_in_order_and_once() -> None:
    """Whatever the order of the checks, findings come by file and place, and the same one twice is one."""
    report = Report()
    for line in (3, 1, 2, 1):
        report.add(catalogue.UNKNOWN_KEY, Span("f", line, 1), "a key")
    assert [finding.position.line for finding in report.findings] == [1, 2, 3]


def test_findings_are_bounded() -> None:
    """Beyond the bound one finding says that there are more."""
    report = Report()
    for line in range(1, MAX_FINDINGS + 500):
        report.add(catalogue.UNKNOWN_KEY, Span("f", line, 1), "a key")
    assert len(report.findings) == MAX_FINDINGS + 1
    assert sum(finding.check is catalogue.TOO_MANY for finding in report.findings) == 1


def test_only_errors_fail() -> None:
    """A warning leaves a folder usable, and is counted as one."""
    report = Report()
    report.add(catalogue.NO_TITLE, Span("f", 1, 1), "no title")
    assert not report.failed
    assert render_text(report.findings).endswith("\n1 warning\n")
    report.add(catalogue.UNKNOWN_KEY, Span("f", 2, 1), "a key")
    assert any(finding.is_error for finding in report.findings)
    assert render_text(report.findings).endswith("\n1 error, 1 warning\n")


def test_nothing_found_is_no_text() -> None:
    """A clean folder prints nothing as text, and zero counts as JSON."""
    assert render_text(()) == ""
    assert json.loads(render_json(())) == {"errors": 0, "warnings": 0, "findings": []}


def test_places_inside_texts() -> None:
    """A part of a text is found on its own line, and only from where the text begins."""
    report = Report()
    report.source("f", "{a.b}: >\n  one\n  two {a.b}")
    assert report.within(Span("f", 1, 8, 1, 3), "{a.b}") == Span("f", 3, 7, 5)
    whole = Span("f", 2, 3, 3, 2)
    assert report.within(whole, "{a.b}") == whole


def test_nearest() -> None:
    """The name that was meant is found, and nothing where none is like it, however long the name."""
    assert nearest("contaner", ["container", "daemon"]) == "container"
    assert nearest("zzz", ["container", "daemon"]) == ""
    assert nearest("c" * 1_000_000, ["container"]) == ""


def test_sarif_names_rule_level_and_place() -> None:
    """What code hosts read: one result for each finding, with the path from the root of the checkout and columns from 1."""
    checked = check_texts([("/repo/rules/a b.yaml", b"rules:\n  - rule: Bad\n    when: {}\n    then: []\n")])
    body = json.loads(render_sarif(checked.findings, "/repo", "1.2.3"))
    (run,) = body["runs"]
    assert (body["version"], run["tool"]["driver"]["version"]) == ("2.1.0", "1.2.3")
    assert len(run["results"]) == len(checked.findings)
    result = next(it for it in run["results"] if it["ruleId"] == "DW106")
    place = result["locations"][0]["physicalLocation"]
    assert (result["level"], place["artifactLocation"]["uri"]) == ("error", "rules/a%20b.yaml")
    assert place["region"] == {"startLine": 2, "startColumn": 11, "endLine": 2, "endColumn": 14}
    assert {it["ruleId"] for it in run["results"]} == {rule["id"] for rule in run["tool"]["driver"]["rules"]}
