"""Which containers the health probe inspects next. Pure.

A start under way leaves the container in `created` (or `restarting`), and a start that hangs leaves it there; so the newest of
those are looked at every time. The running ones take turns.
"""

from collections.abc import Sequence

from engine.ports.docker import ContainerSummary

STARTING = 4
"""Newest ones in `created` or `restarting` in each look."""
RUNNING = 4
"""Running or paused ones in each look: with 60 of them each is inspected within 150 s."""
WHEN_THE_LIST_HANGS = 64
"""Then the culprit is looked for among many at once; one inspection takes a millisecond."""


class Candidates:
    """Remembers whose turn it is."""

    def __init__(self) -> None:
        self._last = ""

    def choose(self, listed: Sequence[ContainerSummary], *, all_of_them: bool) -> list[str]:
        """Ids to inspect now.

        Args:
            listed: as the last list that was answered told them.
            all_of_them: true while the list hangs.
        """
        starting = [entry for entry in listed if entry.status in ("created", "restarting")]
        newest = sorted(starting, key=lambda entry: (entry.created_at is not None, entry.created_at), reverse=True)
        in_turn = sorted(entry.id for entry in listed if entry.status in ("running", "paused"))
        at_most = WHEN_THE_LIST_HANGS if all_of_them else RUNNING
        after = [id_ for id_ in in_turn if id_ > self._last]
        turn = [*after, *in_turn[: len(in_turn) - len(after)]][:at_most]
        if turn:
            self._last = turn[-1]
        return [*(entry.id for entry in newest[: at_most if all_of_them else STARTING]), *turn]
