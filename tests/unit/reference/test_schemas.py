"""The schema that lies beside the shipped rules, for editors."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from engine.reference.schemas import schema_of, schema_text

RULES = Path(__file__).resolve().parents[3] / "rules"
FILES = sorted(file for file in RULES.glob("*.yaml") if not file.name.endswith(".test.yaml"))


def test_it_is_current() -> None:
    """rules/schema.json is what the fact models and the language say; `scripts/schema` writes it anew."""
    assert (RULES / "schema.json").read_text(encoding="utf-8") == schema_text(schema_of("rules"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shipped_rules_name_it_and_are_valid_by_it(file: Path) -> None:
    """The first line tells the language server where it is, and nothing in the file is underlined."""
    text = file.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    validator = jsonschema.Draft7Validator(json.loads((RULES / "schema.json").read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


def test_keys_kinds_fields_and_modifiers_are_explained() -> None:
    """What an editor shows beside a completion: every fact kind and every key of a rule has a text."""
    schema = schema_of("rules")
    text = json.dumps(schema)
    for word in ("memcg_oom_kill", "used_ratio|gte", "resolve_after", "remove_container"):
        assert word in text
