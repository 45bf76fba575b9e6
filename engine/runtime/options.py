"""What the loop and its parts need to know of the settings."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.decisions import Policy
from engine.facts import Fact, Retraction


@dataclass(slots=True)
class Options:
    """What the loop needs to know."""

    host: str
    policy: Policy
    rules_version: str = ""
    publish_facts: tuple[str, ...] = ()
    """Fact kinds that are published too; none by default."""
    record: Callable[[Fact | Retraction], None] | None = None
    """Called with each fact as it comes, for a recording."""
    frozen: Callable[[], bool] = field(default=lambda: False)
    """Whether all actions are stopped."""
