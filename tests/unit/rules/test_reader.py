"""Folders of rules into rule sets."""

import os
import time
from pathlib import Path

import pytest

from engine.errors import RulesError
from engine.inference.windows import window_key
from engine.rule_tests.coverage import with_coverage
from engine.rule_tests.folder import check_folder
from engine.rules.model import (
    AlertEffect,
    AssertEffect,
    Condition,
    CountPattern,
    DoEffect,
    FactPattern,
    MissingPattern,
    Placeholder,
    Rate,
    Ref,
    RetractEffect,
    Retry,
    Rule,
    Template,
)
from engine.rules.reader import Checked, check_texts, read_rules, render_text, rule_files
from tests.unit.rules.good import DATA, GOOD, rule


def one(data: bytes) -> Rule:
    """The only rule of a file that is right."""
    checked = check_texts([("rules.yaml", data)])
    assert checked.ruleset is not None, render_text(checked.findings)
    return checked.ruleset.rules[0]


def ids(checked: Checked) -> list[str]:
    """Ids of the checks that found something."""
    return [finding.check.id for finding in checked.findings]


def test_the_contracts_example() -> None:
    """The example of the rule language becomes exactly the rules that it describes."""
    checked = check_texts([("i5.yaml", GOOD["storm.yaml"])])
    assert ids(checked) == ["DW208"]  # it waits for the alert of a rule that is not in the example
    assert checked.ruleset is not None
    storm, cleanup = checked.ruleset.rules
    assert storm.when == (
        CountPattern(
            "storm",
            "container_event",
            (Condition(("action",), "eq", ("create",)), Condition(("command",), "contains", ("inspect-host",))),
            (("image",), ("command",)),
            within=600_000_000,
            at_least=20,
        ),
    )
    assert storm.unless == (
        FactPattern(
            "unless_1",
            "alert",
            (Condition(("rule",), "eq", ("host-maintenance",)), Condition(("status",), "eq", ("firing",))),
        ),
    )
    assert storm.key == Template((Placeholder(Ref("storm", ("image",))),))
    assert (storm.severity, storm.incident, storm.hold, storm.order) == ("critical", "I5", 0, (0, 0))
    alert, asserted = storm.then
    assert isinstance(alert, AlertEffect)
    assert [ref.path for ref in alert.text.refs] == [("count",), ("image",), ("command",), ("within",)]
    assert asserted == AssertEffect(
        "container_storm",
        (("image", Ref("storm", ("image",))), ("command", Ref("storm", ("command",)))),
        ttl=3_600_000_000,
    )
    assert cleanup.then == (
        DoEffect(
            "remove_container",
            (("container", Ref("left", ("id",))),),
            Rate(5, 1_000_000),
            Retry(5_000_000, 2, 1_800_000_000, 0.2, 12),
        ),
    )
    assert cleanup.order == (0, 1)
    assert checked.ruleset.declared == {"container_storm"}
    assert str(cleanup.position) == "i5.yaml:21:5"


def test_a_folder_with_every_part_of_the_language_is_clean() -> None:
    """Chains, joins, counts, missing facts, formats, declared kinds and escapes: nothing is found."""
    checked = check_texts([("chain.yaml", GOOD["chain.yaml"])])
    assert render_text(checked.findings) == ""
    assert checked.ruleset is not None
    by_id = {found.id: found for found in checked.ruleset.rules}
    assert by_id["daemon-silent"].when[0] == MissingPattern(
        "quiet", "daemon", (Condition(("reachable",), "eq", (True,)),), duration=300_000_000
    )
    assert by_id["over"].then == (RetractEffect("m"), RetractEffect(None, "leaking_kernel", (("kernel", "4.9"),)))
    assert by_id["over"].when[0].tests == (Condition(("who",), "eq", ("$root",)),)
    assert by_id["deletion-busy"].severity == "info"
    assert by_id["unmounted"].priority == 10
    assert by_id["dead-container"].advice.parts == ("Look at the holder that the alert names.",)
    assert checked.ruleset.declared == {"leaking_kernel", "maintenance"}


def test_which_files_are_read(tmp_path: Path) -> None:
    """YAML below the folder by path; no tests, nothing hidden, no overrides."""
    wanted = ["a.yaml", "b/c.yml", "z.yaml"]
    others = [
        "a.test.yaml",
        "b/x.test.yml",
        ".hidden.yaml",
        ".git/x.yaml",
        "overrides/h1/a.yaml",
        "b/overrides/x.yaml",
        "README.md",
    ]
    for name in (*wanted, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("rules: []\n")
    assert [str(path.relative_to(tmp_path)) for path in rule_files(tmp_path)] == wanted


def test_a_hidden_folder_may_hold_the_rules(tmp_path: Path) -> None:
    """What counts as hidden is judged below the folder, not above it."""
    folder = tmp_path / ".config" / "overrides" / "rules"
    folder.mkdir(parents=True)
    (folder / "storm.yaml").write_bytes(GOOD["storm.yaml"])
    assert read_rules(folder).ok


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A linked folder of rules is read, as a swapped one is; a loop of links ends."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "storm.yaml").write_bytes(GOOD["storm.yaml"])
    (real / "loop").symlink_to(real)
    rules = tmp_path / "rules"
    rules.symlink_to(real)
    assert rule_files(rules) == (rules / "storm.yaml",)
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "shipped").symlink_to(rules)
    assert rule_files(outer) == (outer / "shipped" / "storm.yaml",)


def test_a_folder_that_cannot_be_listed_is_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a folder below cannot be read the rules are not taken for complete."""
    (tmp_path / "inner").mkdir()
    listing = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("inner"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(RulesError, match=r"cannot be listed.*Permission denied"):
        read_rules(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there, or is a file, cannot be checked at all."""
    (tmp_path / "file.yaml").write_text("rules: []")
    for path in (tmp_path / "nowhere", tmp_path / "file.yaml"):
        with pytest.raises(RulesError, match="there is no such folder"):
            read_rules(path)


def test_an_empty_folder_is_a_warning(tmp_path: Path) -> None:
    """Nothing to watch is said, and is no error."""
    checked = read_rules(tmp_path)
    assert checked.ok
    assert ids(checked) == ["DW005"]


def test_unreadable_files_are_findings(tmp_path: Path) -> None:
    """A dangling link, a folder named like a file and a loop of links stop nothing."""
    (tmp_path / "good.yaml").write_bytes(GOOD["storm.yaml"])
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    checked = read_rules(tmp_path)
    assert not checked.ok
    unreadable = [finding.position.file for finding in checked.findings if finding.check.name == "unreadable-file"]
    assert unreadable == [str(tmp_path / "dangling.yaml"), str(tmp_path / "loop.yaml")]


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    """A file that is not valid YAML hides nothing of the others."""
    (tmp_path / "a.yaml").write_text("rules: [\n")
    (tmp_path / "b.yaml").write_bytes(rule("{c: {fact: contaner}}"))
    (tmp_path / "c.yaml").write_bytes(rule("{c: {fact: container, stauts: dead}}"))
    assert ids(read_rules(tmp_path)) == ["DW002", "DW201", "DW111", "DW202"]


def test_kinds_are_known_across_files() -> None:
    """A rule may depend on what a rule of a later file asserts, and its fields are typed from there."""
    user = rule("{t: {fact: trouble, level|gt: 3}}", ident="user")
    maker = rule("{c: {fact: container, exit_code|gt: 0}}", "[{assert: {fact: trouble, level: $c.exit_code}}]", ident="maker")
    checked = check_texts([("a.yaml", user), ("b.yaml", maker)])
    assert checked.ok, render_text(checked.findings)
    assert checked.kinds.by_name["trouble"].fields["level"].name == "integer"
    assert ids(check_texts([("a.yaml", user.replace(b"3", b"x")), ("b.yaml", maker)])) == ["DW301"]


def test_types_are_carried_along_chains() -> None:
    """A value handed from fact to fact has the type that it began with."""
    chain = [
        rule(f"{{a: {{fact: step_{n}}}}}", f"[{{assert: {{fact: step_{n + 1}, at_port: $a.at_port}}}}]", ident=f"step-{n}")
        for n in reversed(range(1, 8))
    ]
    first = rule("{c: {fact: container}}", "[{assert: {fact: step_1, at_port: $c.pid}}]", ident="first")
    checked = check_texts([(f"{n}.yaml", data) for n, data in enumerate([*chain, first])])
    assert checked.ok, render_text(checked.findings)
    assert checked.kinds.by_name["step_8"].fields["at_port"].name == "integer"


def test_version_says_what_a_rule_does() -> None:
    """Comments, title, layout and place leave the version; a threshold, a type, a reference or an effect change it."""
    base = one(rule("{d: {fact: disk, used_ratio|gt: 0.9}}", "[{alert: '{d.path}'}]"))
    assert len(base.version) == 16
    same = [
        b"# a comment\nincident: I8\n" + rule("{d: {fact: disk, used_ratio|gt: 0.90}}", "[{alert: '{d.path}'}]"),
        rule("{d: {fact: disk, 'used_ratio|gt': 0.9}}", '[{alert: "{d.path}"}]').replace(b"Something", b"Another title"),
    ]
    other = [
        rule("{d: {fact: disk, used_ratio|gt: 0.8}}", "[{alert: '{d.path}'}]"),
        rule("{d: {fact: disk, used_ratio|gte: 0.9}}", "[{alert: '{d.path}'}]"),
        rule("{d: {fact: disk, used_ratio|gt: 0.9}}", "[{alert: 'd.path'}]"),
        rule("{d: {fact: disk, used_ratio|gt: 0.9}}", "[{alert: '{d.path}'}]").replace(b"warning", b"error"),
    ]
    assert {one(data).version for data in same} == {base.version}
    assert len({base.version, *(one(data).version for data in other)}) == 5


def test_version_tells_types_apart() -> None:
    """One, one point nought, true and the text are four rules."""
    versions = {
        one(rule("{c: {fact: container}}", f"[{{assert: {{fact: thing, value: {value}}}}}]")).version
        for value in ("1", "1.0", "true", '"1"', "$c.pid", '"$$c.pid"')
    }
    assert len(versions) == 6


def test_ruleset_version_covers_texts_and_order() -> None:
    """The version of a folder changes with a title or the order of its files too, and is the same for the same files."""
    first = rule("{c: {fact: container}}", "[{alert: '{c.name}'}]", ident="first")
    second = rule("{c: {fact: container}}", "[{alert: '{c.id}'}]", ident="second")
    texts = [[first, second], [second, first], [first, second.replace(b"Something", b"Other")], [first, second]]
    versions = []
    for data in texts:
        ruleset = check_texts([(str(n), text) for n, text in enumerate(data)]).ruleset
        assert ruleset is not None
        versions.append(ruleset.version)
    assert len(set(versions)) == 3
    assert versions[0] == versions[3]


def test_rules_without_tests_are_warned_of() -> None:
    """A rule that no test expects, or that none shows staying silent, is named at its id; the folder stays usable."""
    checked = check_texts([("storm.yaml", GOOD["storm.yaml"])])
    tested = with_coverage(checked, firing={"inspect-host-storm", "storm-cleanup"}, silent={"inspect-host-storm"})
    assert tested.ok
    assert [f"{finding.check.id} {finding.position}" for finding in tested.findings] == [
        "DW208 storm.yaml:14:29",
        "DW502 storm.yaml:21:11",
    ]
    nothing = with_coverage(check_texts([("storm.yaml", GOOD["storm.yaml"])]), firing=(), silent=())
    assert [finding.check.id for finding in nothing.findings].count("DW501") == 2
    broken = check_texts([("a.yaml", b"rules: [")])
    assert with_coverage(broken, firing=(), silent=()) is broken


@pytest.mark.parametrize("upwards", [False, True])
def test_a_thousand_rules_are_checked_quickly(*, upwards: bool) -> None:
    """A folder of a thousand rules in one chain is checked in seconds, whichever way it runs: no check is quadratic."""
    texts = []
    for n in range(1_000):
        then = f"[{{assert: {{fact: kind_{n + 1}, n: $a.n}}}}]"
        texts.append((f"{n}.yaml", rule(f"{{a: {{fact: kind_{n}, n|gt: {n}}}}}", then, ident=f"rule-{n}")))
    texts.append(("last.yaml", rule("{c: {fact: container}}", "[{assert: {fact: kind_0, n: $c.pid}}]", ident="last")))
    started = time.monotonic()
    checked = check_texts(texts[::-1] if upwards else texts)
    assert checked.ok, render_text(checked.findings)[:2_000]
    assert checked.kinds.by_name["kind_1000"].fields["n"].name == "integer"
    assert time.monotonic() - started < 20


def test_data_folder_is_read_from_disk() -> None:
    """What lies on disk is read as what is in memory."""
    assert read_rules(DATA).files == tuple(str(DATA / name) for name in GOOD)


@pytest.mark.parametrize("name", ["stuck.yaml", "stuck.test.yaml"])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.timeout(30)
def test_a_fifo_among_the_rules_is_a_finding(tmp_path: Path, name: str, linked: bool) -> None:
    """Opening one waits for somebody who writes, for ever: at 0.1.0 the start and each reload stood still."""
    (tmp_path / "good.yaml").write_bytes(rule("{c: {fact: container, status: dead}}", "[{alert: '{c.name}'}]"))
    fifo = tmp_path / ("elsewhere" if linked else name)
    os.mkfifo(fifo)
    if linked:
        (tmp_path / name).symlink_to(fifo)
    found = [it.message for it in check_folder(tmp_path).findings if it.position.file.endswith(name)]
    assert len(found) == 1
    assert "cannot be read: not a regular file" in found[0]


def test_a_device_behind_a_link_is_a_finding(tmp_path: Path) -> None:
    """It never ends, and reading some has effects."""
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    assert [it.message for it in read_rules(tmp_path).findings] == ["the file cannot be read: not a regular file"]


def test_versions_are_those_of_0_1_0() -> None:
    """A journal knows the activations and windows of rules that did not change: what a class is called is no part of them."""
    when = "{c: {count: {fact: container_event, action: die, exit_code|ne: 0}, by: [image], within: 1m, at_least: 3}}"
    ruled = one(rule(when, "[{alert: '{c.image}'}]"))
    pattern = ruled.when[0]
    assert isinstance(pattern, CountPattern)
    assert (ruled.version, window_key(pattern.kind, pattern.tests, pattern.by)) == ("f3fd2b342e2ebc74", "f59f00f24eb7cb88")
