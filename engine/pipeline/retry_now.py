"""The action `retry_now`: it concerns no part of the world but our own schedule."""

from collections.abc import Mapping
from typing import Any

from engine.pipeline.attempts import Executor
from engine.ports.actions import Outcome


class RetryNow:
    """Lets the scheduled retries that concern a container run at once."""

    name = "retry_now"

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def run(self, params: Mapping[str, Any]) -> Outcome:
        """Hurry them."""
        hurried = self._executor.hurry(str(params.get("container", "")), but_not=self.name)
        return Outcome(ok=True, detail=", ".join(sorted({job.action for job in hurried})) or "nothing was scheduled")
