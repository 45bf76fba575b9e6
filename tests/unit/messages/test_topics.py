from hypothesis import given
from hypothesis import strategies as st

from engine.messages import topics

any_text = st.text(st.characters(exclude_categories=()), max_size=40)


def test_topics_are_those_of_the_contract() -> None:
    """The names that other people's subscriptions rely on."""
    assert topics.status_topic("h1") == "dockwarden/h1/status"
    assert topics.alert_topic("h1", "dead-container", "web") == "dockwarden/h1/alert/dead-container/web"
    assert topics.action_topic("h1", "remove_container", "0a1b") == "dockwarden/h1/action/remove_container/0a1b"
    assert topics.fact_topic("h1", "disk") == "dockwarden/h1/fact/disk"
    assert topics.reply_topic("h1", "42") == "dockwarden/h1/reply/42"


def test_an_image_with_slashes_is_one_level() -> None:
    """What MQTT has a meaning for is percent-encoded; the rest stays readable."""
    assert topics.alert_topic("h1", "storm", "rancher/agent:v1.0.2") == "dockwarden/h1/alert/storm/rancher%2Fagent:v1.0.2"
    assert topics.level("50% + #1\x00\n\x7f\x85é") == "50%25%20%2B%20%231%00%0A%7F%C2%85é"


def test_a_topic_of_0_1_with_spaces_is_read_and_written_anew() -> None:
    """NATS closes the connection on a space; what an earlier version published with one names the same alert."""
    assert topics.level_text("web 1") == topics.level_text("web%201") == "web 1"
    assert topics.present_topic("dockwarden/h1/alert/r/web 1") == topics.alert_topic("h1", "r", "web 1")
    assert topics.present_topic("dockwarden/h1/alert/r/-") == topics.alert_topic("h1", "r", "")


def test_no_key_is_a_dash_and_a_dash_is_another() -> None:
    """An alert without a key has a level of its own, which no key can take."""
    assert topics.level("") == "-"
    assert topics.level("-") == "%2D"
    assert topics.level("--") == "--"


@given(any_text)
def test_a_level_is_always_one_valid_level_that_reads_back(text: str) -> None:
    """Whatever the text: no separator, no wildcard, nothing a server may close the connection for; and nothing is lost."""
    encoded = topics.level(text)
    assert encoded
    assert not set(encoded) & set("/+# ")
    assert all(ord(c) >= 32 and not 0x7F <= ord(c) <= 0x9F and not 0xD800 <= ord(c) <= 0xDFFF for c in encoded)
    assert not any(0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE for c in encoded)
    if not topics._LOOKS_CUT.search(text):
        assert topics.level_text(encoded) == text


@given(any_text, any_text)
def test_different_texts_are_different_levels_and_keys(one: str, other: str) -> None:
    """Two alerts never share a topic or a dedup key."""
    assert (topics.level(one) == topics.level(other)) == (one == other)
    assert (topics.dedup_key("h", "r", one) == topics.dedup_key("h", "r", other)) == (one == other)


def test_long_keys_are_cut_and_stay_apart() -> None:
    """A megabyte of key gives a short topic; two that differ at their end alone give two; one that looks cut passes for none."""
    one, other = topics.level("x" * 1_000_000 + "1"), topics.level("x" * 1_000_000 + "2")
    assert one != other
    assert len(one) == topics.MAX_LEVEL
    assert one[:900] == "x" * 900
    assert topics.level(one) != one
    encoded = topics.level("/" * 1000)
    assert len(encoded) <= topics.MAX_LEVEL
    assert encoded.startswith("%2F" * 335 + "~")
    assert len(topics.alert_topic("h" * 5000, "r" * 5000, "é" * 5000).encode()) < 4096


def test_dedup_keys_fit_pagerduty() -> None:
    """Short ones are plain; long ones have at most 255 bytes and differ where the troubles differ."""
    assert topics.dedup_key("h1", "storm", "rancher/agent:v1") == "h1/storm/rancher/agent:v1"
    assert topics.dedup_key("h1", "storm", "") == "h1/storm/"
    one, other = topics.dedup_key("h1", "r", "é" * 300 + "1"), topics.dedup_key("h1", "r", "é" * 300 + "2")
    assert one != other
    assert len(one.encode()) <= 255
    assert topics.dedup_key("a/b", "c", "d") != topics.dedup_key("a", "b/c", "d")
    assert topics.dedup_key("h", "r", "\ud800").encode()


def test_a_summary_is_one_line_of_at_most_1024_characters() -> None:
    """Control characters and line breaks become spaces; what is cut ends with an ellipsis."""
    assert topics.one_line("one\ntwo\r\n\x1b[31mthree\u2028 \x00") == "one two [31mthree"
    assert topics.one_line("x" * 1024) == "x" * 1024
    assert topics.one_line("x" * 1025) == "x" * 1023 + "…"
    assert len(topics.one_line("\n" * 5000 + "x")) <= 1024
    assert topics.one_line("\ud800") == "\ufffd"
    assert topics.one_line("safe \u202e reversed") == "safe   reversed"
