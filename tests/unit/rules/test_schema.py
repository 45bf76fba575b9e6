"""The JSON Schema of rules files."""

from typing import Any

import jsonschema
import pytest
import yaml

from engine.rules.reader import check_texts
from engine.rules.schema import rules_schema
from tests.unit.rules.good import GOOD, rule
from tests.unit.rules.test_golden import CASES


def faults(data: bytes, schema: dict[str, Any] | None = None) -> list[str]:
    """What the schema finds in a file."""
    validator = jsonschema.Draft7Validator(schema or rules_schema())
    return [error.message for error in validator.iter_errors(yaml.safe_load(data))]


def test_it_is_a_schema() -> None:
    """The schema itself is valid draft 7."""
    jsonschema.Draft7Validator.check_schema(rules_schema())


@pytest.mark.parametrize("name", GOOD)
def test_good_files_are_valid(name: str) -> None:
    """An editor underlines nothing in rules that are right, with and without the kinds that they declare."""
    assert faults(GOOD[name]) == []
    assert faults(GOOD[name], rules_schema(check_texts([(name, GOOD[name])]).kinds)) == []


def test_it_is_never_stricter_than_the_check() -> None:
    """Of all golden files, those in which the check finds nothing but warnings are valid."""
    clean = []
    for case in CASES:
        data = (case / "rules.yaml").read_bytes()
        if check_texts([("rules.yaml", data)]).ok and isinstance(yaml.safe_load(data), dict):
            clean.append(case.name)
            assert faults(data) == [], case.name
    assert len(clean) >= 5


@pytest.mark.parametrize(
    "data",
    [
        rule("{c: {fact: container, stauts: dead}}"),
        rule("{c: {fact: container, status: deaf}}"),
        rule("{c: {fact: container, status|begins: d}}"),
        rule("{c: {fact: container, exit_code: '1'}}"),
        rule("{c: {fact: container, exit_code|contains: 1}}"),
        rule("{n: {count: {fact: container_event}, within: 10, at_least: 3}}"),
        rule("{n: {count: {fact: container_event}, within: 10m}}"),
        rule("{m: {missing: {fact: daemon}}}"),
        rule("{c: {fact: container}}", "[{do: remove_container}]"),
        rule("{c: {fact: container}}", "[{do: remove_containers, container: $c.id}]"),
        rule("{c: {fact: container}}", "[{alerts: x}]"),
        rule("{c: {fact: container}}", "[]"),
        rule("{c: {fact: container}}", ident="Some_Rule"),
        rule("{c: {fact: container}}", more="    untill: x\n"),
        b"rules: {}\n",
        b"incidents: I1\n",
    ],
)
def test_what_an_editor_underlines(data: bytes) -> None:
    """Misspelt keys, fields, values, modifiers, actions and missing keys are found while typing."""
    assert faults(data)


def test_everything_is_explained() -> None:
    """Each field of each kind, with each modifier, and each action has a text that the editor shows."""
    schema = rules_schema()
    container = schema["definitions"]["kind_container"]["properties"]
    assert container["id"]["description"] == "Full container id, 64 hexadecimal digits."
    assert container["name|startswith"]["description"].endswith("starts with.")
    for name, body in schema["definitions"].items():
        if name.startswith("kind_"):
            undocumented = [key for key, value in body["properties"].items() if key != "fact" and not value.get("description")]
            assert undocumented == [], name
    actions = [one for one in schema["definitions"]["effect"]["anyOf"] if "do" in one["properties"]]
    assert all(one["properties"]["do"]["description"] for one in actions)
    assert len(actions) == 10


def test_declared_kinds_are_completed() -> None:
    """The kinds that a folder declares are offered with their fields."""
    kinds = check_texts([("chain.yaml", GOOD["chain.yaml"])]).kinds
    schema = rules_schema(kinds)
    assert set(schema["definitions"]["kind_leaking_kernel"]["properties"]) >= {"kernel", "kernel|startswith", "note", "at|gt"}
    broken = GOOD["chain.yaml"].replace(b"maintenance, who:", b"maintenance, whom:")
    assert faults(broken) == []
    assert faults(broken, schema)
