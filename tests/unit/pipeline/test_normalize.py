"""Full ids for the short ones that logs name."""

import pytest

from engine.facts.docker import Container
from engine.facts.timestamps import from_micros
from engine.inference.change_log import ChangeLog
from engine.inference.items import StateItem
from engine.inference.memory import WorkingMemory
from engine.pipeline import normalize
from engine.pipeline.normalize import UNKNOWN_FOR, ShortIds
from tests.unit.pipeline.support import START

ONE = "e1f4db20d043" + "a" * 52
TWIN = "e1f4db20d043" + "b" * 52
OTHER = "0123456789ab" + "c" * 52


def memory(*ids: str) -> WorkingMemory:
    """Working memory with these containers."""
    memory = WorkingMemory(ChangeLog(enabled=False))
    for number, ident in enumerate(ids):
        fact = Container(id=ident, at=from_micros(START))
        memory.add(StateItem(fact, number))
    return memory


@pytest.mark.parametrize("length", [12, 13, 63])
def test_a_beginning_that_fits_one_container_is_that_container(length: int) -> None:
    """Docker's twelve digits, and any other cut."""
    assert ShortIds().full(ONE[:length], memory(ONE, OTHER), START) == ONE


def test_a_beginning_that_fits_two_is_neither() -> None:
    """A wrong container is worse than none."""
    assert ShortIds().full(ONE[:12], memory(ONE, TWIN), START) is None


@pytest.mark.parametrize("text", ["", ONE, ONE[:11], "box-e1f4db20d043", "E1F4DB20D043", ONE + "a", "e1f4db20d043\n"])
def test_what_is_no_short_id_is_left_alone(text: str) -> None:
    """Names, full ids, and beginnings too short to name anything."""
    assert ShortIds().full(text, memory(ONE), START) is None


def test_a_container_that_went_is_looked_for_anew() -> None:
    """What was known is not believed for longer than it is so."""
    ids = ShortIds()
    assert ids.full(ONE[:12], memory(ONE), START) == ONE
    assert ids.full(ONE[:12], memory(TWIN), START + 1) == TWIN
    assert ids.full(ONE[:12], memory(OTHER), START + 2) is None


def test_an_unknown_one_is_looked_for_again_after_a_while() -> None:
    """A storm of lines about it costs one look a second; a container that appears is found then."""
    ids = ShortIds()
    assert ids.full(ONE[:12], memory(), START) is None
    assert ids.full(ONE[:12], memory(ONE), START + UNKNOWN_FOR - 1) is None
    assert ids.full(ONE[:12], memory(ONE), START + UNKNOWN_FOR) == ONE


def test_a_clock_that_goes_back_does_not_make_it_unknown_for_long() -> None:
    """An hour back is no reason to wait for an hour."""
    ids = ShortIds()
    ids.full(ONE[:12], memory(), START)
    assert ids.full(ONE[:12], memory(ONE), START - 3600 * UNKNOWN_FOR) == ONE


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile lines that name ever other ids fill no memory."""
    monkeypatch.setattr(normalize, "REMEMBERED", 10)
    ids = ShortIds()
    for number in range(100):
        ids.full(f"{number:012x}", memory(ONE), START)
    assert len(ids._known) == 10
