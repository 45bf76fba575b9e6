"""What is judged of drafts once every file was read: each module judges one thing, and knows drafts and kinds alone."""

from collections.abc import Iterable

from engine.rules.checks.bindings import check_joins, check_unused
from engine.rules.checks.chains import check_chains
from engine.rules.checks.completeness import check_bounded, check_completeness, check_ids, check_key
from engine.rules.checks.effects import check_effects
from engine.rules.checks.literals import check_container_ids, check_literals, check_unlikely
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
        check_literals(rule, kinds, report)
    check_container_ids(rules, kinds, report)
    check_sources(rules, kinds, report)
    check_chains(rules, kinds, report)


def run_advice(rules: Iterable[DraftRule], kinds: Kinds, report: Report) -> None:
    """Warnings about what is allowed and seldom meant. For whoever writes rules: a sidecar that reads them need not know."""
    drafts = list(rules)
    for rule in drafts:
        check_key(rule, kinds, report)
        check_unlikely(rule, kinds, report)
    check_bounded(drafts, kinds, report)
