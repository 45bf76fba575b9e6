"""References and templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.model import Placeholder, Ref, Template
from engine.rules.text import BadTextError, TextFault, join_path, parse_binding, parse_template, parse_value, split_path


def test_values() -> None:
    """A dollar begins a reference, two stand for one, and anything else is itself."""
    assert parse_value("$storm.image") == Ref("storm", ("image",))
    assert parse_value("$c.labels.com.example.role") == Ref("c", ("labels", "com.example.role"))
    assert parse_value("$$5") == "$5"
    assert parse_value("5$") == "5$"
    assert parse_value("") == ""


@pytest.mark.parametrize("text", ["$", "$storm", "$storm.", "$.image", "$ storm.image", "$5.x", "$storm.a b", "$störm.x"])
def test_what_begins_with_a_dollar_is_a_reference_or_a_fault(text: str) -> None:
    """A half-written reference is never taken for a literal."""
    with pytest.raises(BadTextError, match="invalid reference"):
        parse_value(text)


def test_binding() -> None:
    """`$name` alone names a pattern."""
    assert parse_binding("$leak") == "leak"
    assert parse_binding("leak") is None
    assert parse_binding("$leak.path") is None


def test_template() -> None:
    """Literals, placeholders, formats with colons and doubled braces."""
    assert parse_template("{{{a.b:%H:%M}}} of {c.labels.x/y:.0%}") == Template(
        (
            "{",
            Placeholder(Ref("a", ("b",)), "%H:%M"),
            "} of ",
            Placeholder(Ref("c", ("labels", "x/y")), ".0%"),
        )
    )
    assert parse_template("") == Template(())
    assert parse_template("no placeholder") == Template(("no placeholder",))


def test_every_fault_of_a_template_is_told() -> None:
    """Three faults in one text are three faults, each with the part it is about."""
    with pytest.raises(BadTextError) as caught:
        parse_template("{} and } and {a.b")
    assert [fault.part for fault in caught.value.faults] == ["{}", "}", "{a.b"]


@given(st.text(alphabet="ab.{}:$ \n\x00é", max_size=60))
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    """Whatever the braces, the placeholders of the template stand in the text, or its faults are parts of it."""
    faults: tuple[TextFault, ...] = ()
    try:
        template = parse_template(text)
    except BadTextError as error:
        faults, template = error.faults, Template(())
    assert all(fault.part in text for fault in faults)
    assert all(f"{{{ref.binding}.{join_path(ref.path)}" in text for ref in template.refs)


@given(st.text(alphabet="abc./-", min_size=1))
def test_paths_are_written_as_they_were_read(text: str) -> None:
    """Splitting at the first dot loses nothing."""
    assert join_path(split_path(text)) == text
