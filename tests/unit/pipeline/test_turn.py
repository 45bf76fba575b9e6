"""Where runbooks are read."""

import pytest

from engine.guardrails import Policy
from engine.pipeline.turn import Options


@pytest.mark.parametrize(
    ("base", "named", "told"),
    [
        ("", "runbooks/disk.md", "runbooks/disk.md"),
        ("https://example.org/rules/", "runbooks/disk.md", "https://example.org/rules/runbooks/disk.md"),
        ("https://example.org/rules", "https://elsewhere.example/disk", "https://elsewhere.example/disk"),
        ("https://example.org/rules", "", None),
    ],
)
def test_relative_runbooks_become_urls(base: str, named: str, told: str | None) -> None:
    """A relative runbook stands below the setting, a URL stays as it is, and none is none."""
    assert Options(host="h1", policy=Policy(), runbooks_url=base).runbook(named) == told
