"""`dockwarden check`."""

import json
import sys
from pathlib import Path

from engine.cli.targets import chosen_rules
from engine.cli.terminal import open_facts, recorded
from engine.replay.backtest import with_backtest
from engine.rule_tests.folder import check_folder
from engine.rules.findings import render_json, render_sarif, render_text
from engine.settings import load_settings
from engine.version import VERSION


def check_rules(
    named: Path | None,
    output: str,
    config: Path | None = None,
    *,
    since: str | None = None,
    recording: Path | None = None,
    at_most: int = 0,
    state: Path | None = None,
) -> int:
    """Print every finding about rules, tests, runbooks and overrides; 1 when there is an error among them.

    With a recording, also warn of rules that would have fired too often; of the sidecar's own, only of those that are not what
    the sidecar has in force. The policy that rules are held against is that of the settings, else the one without any.
    """
    settings = load_settings(config)
    folder = named or chosen_rules(settings)
    found = check_folder(folder, touch_running=settings.effective_policy.touch_running)
    if recording is not None:
        with open_facts(str(recording)) as lines:
            found = with_backtest(found, lines, at_most=at_most)
    elif since is not None:
        from engine.sidecar.last_good_rules import last_good  # noqa: PLC0415  it watches folders too, which check does not

        folder = state or settings.state
        in_force = last_good(folder)
        lines, moment = recorded(folder, None, since)
        found = with_backtest(found, lines, at_most=at_most, since=moment, old=in_force.ruleset if in_force is not None else None)
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
