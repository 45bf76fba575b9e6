"""What the loop and its parts need to know of the settings."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.facts import Fact, Retraction
from engine.guardrails import Policy


@dataclass(slots=True)
class Options:
    """What the loop needs to know."""

    host: str
    policy: Policy
    rules_version: str = ""
    runbooks_url: str = ""
    """What stands before relative runbooks; empty: they stay as the rule has them."""
    publish_facts: tuple[str, ...] = ()
    """Fact kinds that are published too; none by default."""
    record: Callable[[Fact | Retraction], None] | None = None
    """Called with each fact as it comes, for a recording."""
    frozen: Callable[[], bool] = field(default=lambda: False)
    """Whether all actions are stopped."""

    def runbook(self, named: str) -> str | None:
        """Where a runbook can be read, None for none."""
        if named and self.runbooks_url and "://" not in named:
            return f"{self.runbooks_url.rstrip('/')}/{named.lstrip('/')}"
        return named or None
