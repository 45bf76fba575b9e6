"""What rules know of fact kinds."""

import pytest

from engine.facts import BUILT_IN, Fact
from engine.rules.kinds import ENVELOPE, built_in_kinds


@pytest.mark.parametrize("model", BUILT_IN, ids=lambda model: model.KIND)
def test_every_field_has_a_type(model: type[Fact]) -> None:
    """No field of a built-in kind is beyond what rules can type, and the envelope is the same for all."""
    kind = built_in_kinds().by_name[model.KIND]
    assert [name for name, found in kind.fields.items() if found.name == "any"] == []
    assert not set(kind.fields) & set(ENVELOPE)
    assert kind.state == (model.KEY is not None)
    assert kind.doc


def test_types() -> None:
    """One field of each type is read off its model, with its choices and whether it may be unknown."""
    kinds = built_in_kinds().by_name
    container = kinds["container"].fields
    assert {name: container[name].name for name in ("id", "exit_code", "oom_killed", "started_at", "labels")} == {
        "id": "string",
        "exit_code": "integer",
        "oom_killed": "boolean",
        "started_at": "time",
        "labels": "map",
    }
    assert container["status"].choices[-1] == "dead"
    assert container["id"].required
    assert not container["id"].optional
    assert container["exit_code"].optional
    assert kinds["daemon"].fields["data_ratio"].name == "number"
    assert kinds["daemon"].fields["warnings"].name == "list"
    assert "memcg_oom_kill" in kinds["kernel_event"].fields["class"].choices


def test_paths() -> None:
    """A dot reaches into a map and into nothing else; envelope fields are fields too."""
    container = built_in_kinds().by_name["container"]
    into = container.type_of(("labels", "com.example.role"))
    assert into is not None
    assert into.name == "string"
    assert container.type_of(("name", "first")) is None
    assert container.type_of(("nothing",)) is None
    at = container.type_of(("at",))
    assert at is not None
    assert at.name == "time"
