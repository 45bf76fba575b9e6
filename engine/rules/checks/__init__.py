"""What is judged of drafts once every file was read: each module judges one thing, and knows drafts and kinds alone."""

from engine.rules.draft import DraftRule
from engine.rules.findings import Report
from engine.rules.kinds import Kinds


def run_checks(rules: list[DraftRule], kinds: Kinds, report: Report) -> None:
    """All of them."""
