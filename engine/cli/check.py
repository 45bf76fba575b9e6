"""`dockwarden check`."""

import json
import sys
from pathlib import Path

from engine.cli.targets import chosen_rules
from engine.rule_tests.folder import check_folder
from engine.rules.findings import render_json, render_sarif, render_text
from engine.settings import load_settings
from engine.version import VERSION


def check_rules(named: Path | None, output: str, config: Path | None = None) -> int:
    """Print every finding about rules, tests, runbooks and overrides; 1 when there is an error among them.

    The policy that rules are held against is that of the settings, else the one without any.
    """
    settings = load_settings(config)
    found = check_folder(named or chosen_rules(settings), touch_running=settings.effective_policy.touch_running)
    if output == "json":
        changes = [{"file": it.span.file, "line": it.span.line, "rule": it.rule, "change": it.what} for it in found.changes]
        sys.stdout.write(json.dumps(json.loads(render_json(found.findings)) | {"overrides": changes}, indent=2) + "\n")
    elif output == "sarif":
        sys.stdout.write(render_sarif(found.findings, str(Path.cwd()), VERSION))
    else:
        for change in found.changes:
            print(change)
        sys.stdout.write(render_text(found.findings))
    return 1 if any(finding.is_error for finding in found.findings) else 0
