"""Docker's answers are read whatever they are, over all versions."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.docker.api import readings
from connectors.sources.text import LABELS, clean, clean_labels

ID = "0123456789abcdef" * 4

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
FIELDS = [
    "Id",
    "Names",
    "Name",
    "Image",
    "Command",
    "State",
    "Status",
    "Created",
    "Labels",
    "Config",
    "Path",
    "Args",
    "DriverStatus",
]
shaped = st.dictionaries(st.sampled_from(FIELDS), junk, max_size=8).map(lambda entry: entry | {"Id": ID})


@given(junk | shaped | st.lists(shaped, max_size=3))
def test_no_answer_is_an_error(answer: Any) -> None:
    """Whatever JSON comes is read into something, without an exception."""
    for entry in readings.summaries(answer):
        assert entry.id == ID
    detail = readings.detail(answer)
    assert detail is None or detail.id == ID
    readings.version(answer)
    readings.info(answer)
    assert readings.pruned(answer).count >= 0


@pytest.mark.parametrize(
    ("state", "text", "status", "exit_code", "health"),
    [
        ("running", "Up 5 minutes (healthy)", "running", None, "healthy"),
        ("running", "Up 2 seconds (health: starting)", "running", None, "starting"),
        ("exited", "Exited (137) 5 minutes ago", "exited", 137, None),
        ("exited", "Exited (-1) 5 minutes ago", "exited", -1, None),
        ("removing", "Removal In Progress", "removing", None, None),
        ("dead", "Dead", "dead", None, None),
        ("restarting", "Restarting (1) 5 seconds ago", "restarting", 1, None),
        # before API 1.23 there was no State
        (None, "Up 5 minutes", "running", None, None),
        (None, "Up 5 minutes (Paused)", "paused", None, None),
        (None, "Exited (0) 5 minutes ago", "exited", 0, None),
        (None, "Dead", "dead", None, None),
        (None, "Removal In Progress", "removing", None, None),
        (None, "Created", "created", None, None),
        (None, "", "created", None, None),
        # Podman
        ("stopped", "", "exited", None, None),
        ("configured", "", "created", None, None),
        # unknown: the state that nothing touches
        ("hibernating", "", "running", None, None),
    ],
)
def test_states_of_all_versions(state: str | None, text: str, status: str, exit_code: int | None, health: str | None) -> None:
    """State where there is one, else the status text; exit code and health from the text, which labels cannot forge."""
    (entry,) = readings.summaries([{"Id": ID, "State": state, "Status": text}])
    assert (entry.status, entry.exit_code, entry.health) == (status, exit_code, health)


def test_own_name_is_not_a_link_s() -> None:
    """A link shows as /other/alias; without any name there is none."""
    (entry,) = readings.summaries([{"Id": ID, "Names": ["/web/db", "/db"]}])
    assert entry.name == "db"
    (nameless,) = readings.summaries([{"Id": ID, "Names": []}])
    assert nameless.name == ""


def test_entries_without_an_id_are_left_out() -> None:
    """Nothing could be said about them."""
    assert readings.summaries([{"Id": "abc"}, {}, None, {"Id": ID + "\n"}]) == []


def test_old_inspect_has_flags() -> None:
    """Before API 1.21 State had no Status."""
    for flags, status in (
        ({"Running": True}, "running"),
        ({"Dead": True}, "dead"),
        ({"RemovalInProgress": True, "Dead": True}, "removing"),
    ):
        detail = readings.detail({"Id": ID, "State": flags})
        assert detail is not None
        assert detail.status == status


def test_exit_code_is_none_until_there_is_one() -> None:
    """A container that never ran, or runs, has ExitCode 0 in Docker's answer."""
    cases = [
        ({"Status": "created", "ExitCode": 0, "FinishedAt": "0001-01-01T00:00:00Z"}, None),
        ({"Status": "created", "ExitCode": 127, "FinishedAt": "0001-01-01T00:00:00Z"}, 127),
        ({"Status": "running", "ExitCode": 0, "FinishedAt": "2026-11-20T16:51:52.525487123Z"}, None),
        ({"Status": "exited", "ExitCode": 0, "FinishedAt": "2026-11-20T16:51:52.525487123Z"}, 0),
    ]
    for state, exit_code in cases:
        detail = readings.detail({"Id": ID, "State": state})
        assert detail is not None
        assert detail.exit_code == exit_code


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-20T16:51:52.525487123Z", datetime(2026, 11, 20, 16, 51, 52, 525487, tzinfo=UTC)),
        ("2026-11-20T16:51:52.5Z", datetime(2026, 11, 20, 16, 51, 52, 500000, tzinfo=UTC)),
        ("2026-11-20T18:51:52+02:00", datetime(2026, 11, 20, 16, 51, 52, tzinfo=UTC)),
        ("2026-11-20T16:51:52", datetime(2026, 11, 20, 16, 51, 52, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
        (5, None),
        ("9999-12-31T23:59:59-23:59", None),
    ],
)
def test_times(text: object, at: datetime | None) -> None:
    """Nanoseconds are cut to microseconds; Go's zero time and what is no time are None."""
    assert readings.read_time(text) == at


def test_command_is_quoted_as_in_the_list() -> None:
    """Arguments with a space stand in single quotes, others bare."""
    assert readings.command_of("/run.sh", ["inspect-host"]) == "/run.sh inspect-host"
    assert readings.command_of("sh", ["-c", "exit 7"]) == "sh -c 'exit 7'"
    assert readings.command_of(None, None) == ""


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc"])))
def test_clean_text_can_be_encoded_and_printed(text: str) -> None:
    """No control character but tab and newline, no lone surrogate, within the limit."""
    cleaned = clean(text, 50)
    cleaned.encode()
    assert len(cleaned) <= 50
    assert not any(character < " " and character not in "\t\n" for character in cleaned)


def test_decisive_labels_are_kept_among_too_many() -> None:
    """A container that hides `exitCode` or `dockwarden.protect` behind a thousand labels does not get through."""
    many = {f"k{number}": "v" for number in range(1_000)}
    kept = clean_labels(many | {"exitCode": "0", "dockwarden.protect": "true"})
    assert len(kept) == LABELS
    assert kept["exitCode"] == "0"
    assert kept["dockwarden.protect"] == "true"
