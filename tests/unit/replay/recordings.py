"""Small rules and recordings for the tests of the command line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

STORM = """
rules:
  - rule: storm
    title: Too many deaths
    severity: {severity}
    when:
      died: {{count: {{fact: container_event, action: die}}, by: [image], within: 1m, at_least: {at_least}}}
    key: "{{died.image}}"
    then:
      - alert: "{{died.image}} died again and again"
"""


def storm(at_least: int, severity: str = "warning") -> str:
    """A rules file whose one rule counts deaths of an image."""
    return STORM.format(at_least=at_least, severity=severity)


def deaths(number: int, *, every: int = 5, image: str = "web") -> list[dict[str, Any]]:
    """So many deaths, so many seconds apart."""
    return [
        {"fact": "container_event", "at": f"2026-01-01T{n * every // 3600:02}:{n * every // 60 % 60:02}:{n * every % 60:02}Z"}
        | {"action": "die", "id": f"c{n}", "image": image}
        for n in range(number)
    ]


def write_rules(folder: Path, text: str) -> Path:
    """A folder of one rules file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(text)
    return folder


def write_facts(file: Path, facts: Iterable[dict[str, Any]]) -> str:
    """A recording."""
    file.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    return str(file)
