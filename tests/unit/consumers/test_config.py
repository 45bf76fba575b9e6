"""The configuration file: what is accepted, and what is said of every fault."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.consumers.config import Program, load_config, read_secret
from engine.errors import SettingsError

GOOD: dict[str, Any] = {
    "broker": {"url": "mqtts://pager@broker.example"},
    "state": "/var/lib/dockwarden-pager",
    "receivers": {"oncall": {"type": "pagerduty", "routing_key_file": "/etc/dockwarden/key"}},
    "routes": [{"receivers": ["oncall"]}],
}


def _load(folder: Path, text: str, program: Program = "pager") -> Any:
    file = folder / "pager.yaml"
    file.write_text(text)
    return load_config(file, program)


def _faults(folder: Path, text: str, program: Program = "pager") -> list[str]:
    with pytest.raises(SettingsError) as raised:
        _load(folder, text, program)
    return [line.removeprefix(f"{folder}/pager.yaml:") for line in str(raised.value).splitlines()]


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    """Everything else has a default."""
    config = _load(tmp_path, yaml.safe_dump(GOOD))
    assert config.broker.settings("dockwarden-pager").port == 8883
    assert config.broker.settings("dockwarden-pager").client_id == "dockwarden-pager"
    assert config.receivers["oncall"].policy.by_alert


def test_every_fault_is_named_with_its_place_and_what_to_do(tmp_path: Path) -> None:
    """All at once, with line and column and the nearest name."""
    text = """\
broker: {url: "http://broker"}
state: /tmp/x
receivers:
  oncall:
    type: pagerduty
    routing_key: abc
  am: {type: alertmanger, url: "http://x"}
routes:
  - match: {severty: error}
    receivers: [oncall]
gone_after: 5
"""
    assert _faults(tmp_path, text) == [
        "1:1: broker: the broker's URL must begin with mqtt:// or mqtts://, as in mqtts://user@broker.example:8883",
        "4:3: receivers.oncall: `routing_key_file` is missing: Its first line is the integration key.",
        "6:5: receivers.oncall.routing_key: unknown setting `routing_key`; did you mean `routing_key_file`?",
        "7:8: receivers.am.type: unknown type `alertmanger`; did you mean `alertmanager`?",
        "9:13: routes.0.match.severty: unknown setting `severty`; did you mean `severity`?",
        "11:1: gone_after: unknown setting `gone_after`; did you mean `gone_after_s`?",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"routes": [{"receivers": ["oncal"]}]}, "unknown receiver `oncal`; did you mean `oncall`?"),
        ({"broker": {"url": "mqtt://u:T0P-S3CRET@b"}}, "`url` holds a password"),
        ({"receivers": {"x": {"type": "webhook"}}}, "give `url`, or `url_file` when the address is a secret"),
        (
            {"receivers": {"x": {"type": "webhook", "url": "http://x", "headers": {"authorization": "T0P-S3CRET"}}}},
            "an Authorization header is a secret",
        ),
        ({"receivers": {"x": {"type": "apprise", "url_file": "x"}}}, "`apprise` is a receiver of dockwarden-chat"),
        (
            {"routes": [{"receivers": [], "quiet": [{"start": "22:00", "end": "7", "timezone": "Mars"}]}]},
            "unknown time zone `Mars`",
        ),
        ({"receivers": {}}, "at least 1"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    """With what to do; a secret that stands where it should not is not repeated."""
    said = "\n".join(_faults(tmp_path, yaml.safe_dump(GOOD | change)))
    assert fault in said
    assert "T0P-S3CRET" not in said


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00", "a: 2026-13-45"])
def test_what_is_no_configuration_is_one_sentence(tmp_path: Path, text: str) -> None:
    """Never a traceback."""
    (fault,) = _faults(tmp_path, text)
    assert "not valid YAML" in fault or "expected settings by name" in fault


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """And how to name another."""
    with pytest.raises(
        SettingsError, match=r"nowhere\.yaml: cannot be read: No such file or directory; name the file with --config"
    ):
        load_config(tmp_path / "nowhere.yaml", "pager")


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    """One that is missing, empty or no text is named without what stands in it."""
    file = tmp_path / "key"
    file.write_text("s3cret\nsecond line\n")
    assert read_secret(file) == "s3cret"
    for content in (b"", b"\n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(SettingsError, match="key"):
            read_secret(file)
    with pytest.raises(SettingsError, match="cannot read"):
        read_secret(tmp_path / "none")
