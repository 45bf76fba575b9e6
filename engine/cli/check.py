"""`dockwarden check`."""

import json
import sys
from pathlib import Path

from engine.cli.targets import rules_folder
from engine.rule_tests.folder import check_folder
from engine.rules.findings import render_json, render_text


def check_rules(named: Path | None, output: str) -> int:
    """Print every finding about rules, tests and overrides; 1 when there is an error among them."""
    found = check_folder(rules_folder(named))
    if output == "json":
        changes = [{"file": it.span.file, "line": it.span.line, "rule": it.rule, "change": it.what} for it in found.changes]
        sys.stdout.write(json.dumps(json.loads(render_json(found.findings)) | {"overrides": changes}, indent=2) + "\n")
    else:
        for change in found.changes:
            print(change)
        sys.stdout.write(render_text(found.findings))
    return 1 if any(finding.is_error for finding in found.findings) else 0
