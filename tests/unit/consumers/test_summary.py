"""What people read."""

import re

import pytest

from connectors.consumers.summary import container_name, defused, details, runbook_link, summary_line, title
from tests.unit.consumers.build import ID, alert

NAMED = [{"fact": "container", "id": ID, "name": "/web", "image": "nginx"}]


def test_the_line_has_severity_title_host_and_container_name() -> None:
    """In this order; the name comes from the evidence, without Docker's slash."""
    line = summary_line(alert(key=ID, evidence=NAMED))
    assert line == "[ERROR] A container dies and is started again and again | web-7 | web"
    assert summary_line(alert(2, "resolved", key=ID, evidence=NAMED)).startswith("[RESOLVED] ")
    assert summary_line(alert(labels={"test": "true"})).startswith("[TEST] ")


def test_no_full_id_is_ever_shown() -> None:
    """An id whose name is known gives way to the name, another one is cut to what docker ps shows."""
    other = "f" * 64
    told = alert(key=f"{ID}:/mnt/{other}", summary=f"container ({ID}) holds {other}", title=f"About {other}", evidence=NAMED)
    for text in (summary_line(told), details(told), title(told), container_name(told)):
        assert not re.search("[0-9a-f]{64}", text)
    assert details(told) == f"container (web) holds {'f' * 12}"
    assert container_name(told) == f"web:/mnt/{'f' * 12}"


def test_a_process_or_image_is_no_container() -> None:
    """Only facts about containers give names for their `id`."""
    assert container_name(alert(key="", evidence=[{"fact": "source", "id": ID, "name": "docker"}])) == ""
    assert (
        container_name(alert(key="", evidence=[{"fact": "mount_leak", "holder_id": ID, "holder_name": "exporter"}])) == "exporter"
    )


def test_a_rule_without_a_title_is_named_in_words() -> None:
    """And a title of any length is cut."""
    assert title(alert(title="")) == "Restart loop"
    assert len(title(alert(title="x" * 500))) == 120


@pytest.mark.parametrize(
    ("url", "base", "link"),
    [
        ("runbooks/x.md", "https://git.example/rules/", "https://git.example/rules/runbooks/x.md"),
        ("runbooks/x.md", "", None),
        ("https://w.example/x", "https://git.example", "https://w.example/x"),
        (None, "https://git.example", None),
    ],
)
def test_a_relative_runbook_becomes_a_link_where_its_base_is_known(url: str | None, base: str, link: str | None) -> None:
    """Without a base there is none."""
    assert runbook_link(alert(runbook=url), base) == link


def test_names_of_containers_mention_nobody() -> None:
    """What chat services take for a mention is broken up; an address in plain words stays readable."""
    for bad in ("@everyone", "<!channel>", "<@U123>", "<#C1>"):
        assert bad not in defused(f"container {bad} died")
    assert defused("a < b @ noon") == "a < b @ noon"
