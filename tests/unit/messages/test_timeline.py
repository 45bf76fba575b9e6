"""The picture of an incident."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engine.facts.timestamps import SECOND
from engine.messages.models import AlertAction, AlertData
from engine.messages.timeline import LANES, MAX_ENTRIES, Entry, entries_of_alert, in_order, picture

AT = datetime(2026, 11, 20, 16, 51, 52, tzinfo=UTC)


def data(**over: object) -> AlertData:
    """A dead container that was removed at the second attempt."""
    fields: dict[str, object] = {
        "dedup_key": "k",
        "status": "resolved",
        "severity": "error",
        "summary": "s",
        "host": "h1",
        "rule": "dead-container",
        "key": "c" * 64,
        "labels": {},
        "annotations": {"title": "A container is dead"},
        "starts_at": AT,
        "ends_at": AT + timedelta(seconds=30),
        "updated_at": AT,
        "count": 1,
        "evidence": [
            {"fact": "container", "fact_id": "f", "at": "2026-11-20T16:51:51.000000Z", "id": "c" * 64, "status": "dead"},
            {"fact": "undated"},
        ],
        "actions": [
            AlertAction(action="remove_container", target="c" * 64, verdict="scheduled", at=AT),
            AlertAction(
                action="remove_container", target="c" * 64, verdict="failed", at=AT + timedelta(seconds=1), reason="busy"
            ),
            AlertAction(action="unmount", target="m:/x", verdict="refused", at=AT + timedelta(seconds=2), reason="protected"),
            AlertAction(action="remove_container", target="c" * 64, verdict="done", at=AT + timedelta(seconds=29)),
        ],
        "seq": 1,
    }
    return AlertData.model_validate(fields | over)


def test_an_alert_becomes_the_story_of_its_incident() -> None:
    """Fact, rule, decision, failure, refusal, success, resolution, in order of time, with short ids."""
    entries = entries_of_alert(data())
    assert [(entry.lane, entry.tone) for entry in entries] == [
        ("fact", "plain"),
        ("action", "plain"),
        ("rule", "bad"),
        ("outcome", "bad"),
        ("action", "held"),
        ("outcome", "good"),
        ("rule", "good"),
    ]
    assert "c" * 13 not in "".join(entry.text for entry in entries)
    assert entries[3].text == "remove_container cccccccccccc: failed (busy)"


def test_each_entry_is_one_dot_that_tells_its_text() -> None:
    """Who cannot see the picture receives the titles."""
    root = ET.fromstring(picture(entries_of_alert(data())))
    dots = list(root.iter("circle"))
    assert len(dots) == 7
    assert all(dot.find("title") is not None for dot in dots)
    assert root.get("role") == "img"


def test_nothing_happened_has_no_picture() -> None:
    """An empty frame tells nothing."""
    assert picture([]) == ""


entries_strategy = st.builds(
    Entry,
    at=st.integers(0, 4_000_000_000 * SECOND),
    lane=st.sampled_from(LANES),
    text=st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=30),
    tone=st.sampled_from(["plain", "bad", "good", "held"]),
)


@given(st.lists(entries_strategy, max_size=30))
def test_whatever_a_text_says_the_picture_is_well_formed_and_in_its_frame(entries: list[Entry]) -> None:
    """Names of containers are hostile: no text becomes markup, no dot leaves the frame."""
    ordered = in_order(entries)
    drawn = picture(ordered)
    if drawn:
        root = ET.fromstring(drawn)
        assert {element.tag for element in root.iter()} <= {"svg", "line", "text", "circle", "title"}
        assert all(0 <= float(dot.attrib["cx"]) <= 960 for dot in root.iter("circle"))


def test_of_too_many_entries_the_first_and_last_are_drawn() -> None:
    """A storm of thousands stays a picture."""
    entries = in_order(Entry(number, "fact", str(number)) for number in range(5_000))
    assert len(entries) == MAX_ENTRIES
    assert entries[0].at == 0
    assert entries[-1].at == 4_999
