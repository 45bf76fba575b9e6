"""Which lines of logs rules ask for."""

from engine.logparse import Wanted
from engine.rules.log_lines import AskedLine, wanted_lines, without_text
from engine.rules.model import Condition, CountPattern, FactPattern, Pattern, Position, Ref, Rule, RuleSet

TEXT = ("text",)


def rules_of(*patterns: Pattern, unless: tuple[FactPattern, ...] = ()) -> RuleSet:
    """One rule with these patterns."""
    return RuleSet((Rule("r", "t", "info", patterns, (), unless, position=Position("a.yaml", 3, 1)),))


def pattern(*tests: Condition, kind: str = "log_line") -> FactPattern:
    """A pattern of these conditions."""
    return FactPattern("l", kind, tests)


def test_conditions_on_the_text() -> None:
    """Each operator that says what is there asks for it; several values ask for any of them."""
    for op in ("contains", "startswith", "endswith", "eq"):
        assert wanted_lines(rules_of(pattern(Condition(TEXT, op, ("abc", "d"))))) == (AskedLine("", "abc"), AskedLine("", "d"))
    assert wanted_lines(rules_of(pattern(Condition(TEXT, "re", ("a.c",))))) == (AskedLine("", "a.c", is_expression=True),)


def test_the_longest_condition_is_enough() -> None:
    """All of a pattern's conditions must hold, so the prefilter needs the most telling one only."""
    asked = rules_of(
        pattern(Condition(TEXT, "contains", ("ab",)), Condition(TEXT, "contains", ("long words",)), Condition(TEXT, "ne", ("x",)))
    )
    assert wanted_lines(asked) == (AskedLine("", "long words"),)


def test_logs() -> None:
    """A condition on `log` asks these logs alone."""
    asked = rules_of(pattern(Condition(("log",), "eq", ("kernel", "kubelet")), Condition(TEXT, "contains", ("a",))))
    assert wanted_lines(asked) == (AskedLine("kernel", "a"), AskedLine("kubelet", "a"))


def test_all_places_of_patterns() -> None:
    """Counts and `unless` ask as well; patterns of other kinds do not."""
    count = CountPattern("n", "log_line", (Condition(TEXT, "contains", ("many",)),), (), 60_000_000, 5)
    other = pattern(Condition(TEXT, "contains", ("kernel words",)), kind="kernel_event")
    asked = rules_of(count, other, unless=(pattern(Condition(TEXT, "contains", ("but",))),))
    assert wanted_lines(asked) == (AskedLine("", "many"), AskedLine("", "but"))


def test_a_pattern_without_text_asks_for_nothing() -> None:
    """It would need every line of a log; the check is given its place."""
    for tests in (
        (),
        (Condition(("log",), "eq", ("kernel",)),),
        (Condition(TEXT, "ne", ("x",)),),
        (Condition(TEXT, "eq", (Ref("a", TEXT),)),),
    ):
        assert wanted_lines(rules_of(pattern(*tests))) == ()
        assert without_text(rules_of(pattern(*tests))) == (Position("a.yaml", 3, 1),)
    assert without_text(rules_of(pattern(Condition(TEXT, "contains", ("a",))))) == ()


def test_fields_are_those_of_the_prefilter() -> None:
    """What rules ask for is handed to the prefilter field by field."""
    assert AskedLine._fields == Wanted._fields
