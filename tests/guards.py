"""Guards for tests of actions: one that lets everything be touched, one that protects what it is told."""

from engine.ports.actions import ContainerGuard, Outcome, failed


async def allow(container: str) -> Outcome | None:  # noqa: ARG001 - the shape of ContainerGuard
    """No container is protected."""
    return None


def protecting(*containers: str, asked: list[str] | None = None) -> ContainerGuard:
    """These are; who is asked about is noted in `asked`."""

    async def guard(container: str) -> Outcome | None:
        if asked is not None:
            asked.append(container)
        return failed("refused", f"{container[:12]} is protected", permanent=True) if container in containers else None

    return guard
