"""How facts come in."""

from typing import Protocol

from engine.facts import Fact, Retraction


class Sink(Protocol):
    """Where a source puts what it saw. Bounded: `put` waits while the loop is behind."""

    async def put(self, facts: "list[Fact | Retraction]", *, cursor: str | None = None) -> None:
        """Hand over facts in order.

        Args:
            facts: in the order they were seen; may be empty when only the cursor moved.
            cursor: where to go on after a restart; kept in the journal in the same transaction as what the facts led to.
        """


class FactSource(Protocol):
    """Something that emits facts for as long as it runs.

    `run` goes on until it is cancelled: a source that is lost says so in a `source` fact and tries again by itself,
    with growing pauses. It raises only for what trying again cannot repair.
    """

    @property
    def name(self) -> str:
        """Name of its cursor, its task and its `source` fact."""

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Emit facts until cancelled, from the cursor on where there is one."""
