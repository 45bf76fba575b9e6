"""May an action touch this container? One pure answer for every action, and the asking that goes right before the act.

The guardrails judge a decision by working memory, which is some moments old and may know a name only. What an action touches is
looked at here by what inspect says then: a container may have been started, renamed or replaced meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from engine.errors import DockerError
from engine.facts.docker import Container
from engine.ports.actions import Outcome, failed
from engine.ports.docker import ContainerDetail, DockerApi

LABEL = "dockwarden.protect"
_YES = frozenset({"true", "1", "yes", "on"})

LIVING = frozenset({"running", "paused", "restarting"})
"""States of a container that has processes."""

ASK_S = 5.0
"""Seconds that an inspection may take before what was known last decides; when that is nothing, nothing is touched."""


@dataclass(frozen=True, slots=True)
class Protection:
    """Protects by the label `dockwarden.protect=true`, and by patterns (`*`, `?`, `[…]`) for names and images."""

    names: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def covers(self, *, name: str, image: str, labels: Mapping[str, str]) -> bool:
        """True when this container is protected."""
        if labels.get(LABEL, "").strip().lower() in _YES:
            return True
        return any(fnmatchcase(name, pattern) for pattern in self.names) or any(
            fnmatchcase(image, pattern) for pattern in self.images
        )


def refusal(container: ContainerDetail | Container, protection: Protection, *, touch_running: bool) -> Outcome | None:
    """Why an action must not touch a container that is as given here; None when it may.

    Args:
        container: as inspect gives it at the moment of acting.
        protection: what no action touches.
        touch_running: the action may touch running ones: rule and policy both say so, or what it does leaves them running.
    """
    if protection.covers(name=container.name, image=container.image, labels=container.labels):
        text = f"container {_name(container)} is protected, by its label or by a pattern for names or images"
        return failed("refused", text, permanent=True)
    if container.status in LIVING and not touch_running:
        text = f"container {_name(container)} is {container.status}, and rule and policy do not both name running ones for this"
        return failed("running", text, permanent=True)
    return None


def _name(container: ContainerDetail | Container) -> str:
    return container.name or container.id[:12]


class DockerGuard:
    """A `ContainerGuard`: for actions that touch a container from outside (its mounts, its processes) and leave it running."""

    def __init__(self, docker: DockerApi, protection: Protection, *, last_known: Callable[[str], Container | None]) -> None:
        """`docker`: a client for remedies; `last_known`: what is certain of a container, for when Docker does not answer."""
        self._docker = docker
        self._protection = protection
        self._last_known = last_known

    async def __call__(self, container: str) -> Outcome | None:
        """The refusal; None when it may be touched, or is gone."""
        known: ContainerDetail | Container | None
        try:
            async with asyncio.timeout(ASK_S):
                known = await self._docker.inspect(container)
        except (DockerError, TimeoutError) as error:
            if isinstance(error, DockerError) and error.kind == "not_found":
                return None
            known = self._last_known(container)
            if known is None:
                text = f"Docker does not say whether container {container[:12]} is protected: {str(error) or 'no answer in time'}"
                return failed("unreachable", text)
        return refusal(known, self._protection, touch_running=True)
