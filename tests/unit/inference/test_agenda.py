"""Which match fires next."""

from engine.inference.agenda import Agenda
from engine.inference.items import CountItem
from engine.inference.match import Match
from engine.rules.model import Rule
from tests.unit.inference.counted import NOTHING_COUNTED


def match(*, priority: int = 0, order: tuple[int, int] = (0, 0), items: tuple[int, ...] = ()) -> Match:
    """A match of a rule with this priority and place, of facts with these numbers."""
    rule = Rule("r", "", "info", (), (), priority=priority, order=order)
    return Match(rule, {}, tuple(CountItem(("count", str(seq)), seq, "", NOTHING_COUNTED) for seq in items))


def popped(agenda: Agenda) -> list[Match]:
    """All of it, in order."""
    found: list[Match] = []
    while (one := agenda.pop()) is not None:
        found.append(one)
    return found


def test_priority_then_place_then_the_order_in_which_facts_came() -> None:
    """However they were pushed."""
    ordered = [
        match(priority=5, order=(9, 9)),
        match(order=(0, 1), items=(1, 2)),
        match(order=(0, 1), items=(1, 3)),
        match(order=(1, 0), items=(1,)),
        match(priority=-1),
    ]
    agenda = Agenda()
    for one in reversed(ordered):
        agenda.push(one)
    assert popped(agenda) == ordered


def test_a_match_is_on_it_once_and_may_come_back() -> None:
    """Pushed three times it fires once; after its turn it may be pushed again."""
    agenda, one = Agenda(), match()
    for _ in range(3):
        agenda.push(one)
    assert popped(agenda) == [one]
    agenda.push(one)
    assert popped(agenda) == [one]
    assert not agenda


def test_what_an_unless_held_back_gets_its_turn() -> None:
    """All of the rule's blocked matches are looked at again, once."""
    agenda, one = Agenda(), match()
    agenda.push_all({one: None})
    agenda.push_all({one: None})
    assert popped(agenda) == [one]
