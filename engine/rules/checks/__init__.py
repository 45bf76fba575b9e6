"""What is judged of drafts once every file was read: each module judges one thing, and knows drafts and kinds alone."""

from engine.rules.checks.bindings import check_joins, check_unused
from engine.rules.checks.chains import check_chains
from engine.rules.checks.completeness import check_completeness, check_ids
from engine.rules.checks.effects import check_effects
from engine.rules.checks.patterns import check_patterns
from engine.rules.checks.policy import check_policy
from engine.rules.checks.reachability import check_reachability, check_sources
from engine.rules.draft import DraftRule
from engine.rules.findings import Report
from engine.rules.kinds import Kinds


def run_checks(rules: list[DraftRule], kinds: Kinds, report: Report) -> None:
    """All of them."""
    check_ids(rules, report)
    for rule in rules:
        if report.full:
            return
        check_completeness(rule, kinds, report)
        check_patterns(rule, kinds, report)
        check_effects(rule, kinds, report)
        check_unused(rule, report)
        check_joins(rule, kinds, report)
        check_reachability(rule, kinds, report)
        check_policy(rule, kinds, report)
    check_sources(rules, kinds, report)
    check_chains(rules, kinds, report)
