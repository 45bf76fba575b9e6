"""Who keeps creating a container, as far as its labels tell. Pure."""

from collections.abc import Mapping

_PARENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kubernetes", ("io.kubernetes.pod.namespace", "io.kubernetes.pod.name")),
    ("swarm", ("com.docker.swarm.service.name",)),
    ("compose", ("com.docker.compose.project", "com.docker.compose.service")),
    ("rancher", ("io.rancher.stack_service.name",)),
    ("rancher", ("io.rancher.stack.name", "io.rancher.service.name")),
    ("rancher", ("io.rancher.container.name",)),
    ("rancher", ("io.rancher.container.system",)),
    ("nomad", ("com.hashicorp.nomad.job_name", "com.hashicorp.nomad.task_name")),
    ("nomad", ("com.hashicorp.nomad.alloc_id",)),
    ("ecs", ("com.amazonaws.ecs.task-definition-family", "com.amazonaws.ecs.container-name")),
)
"""Kind of parent, and the labels that name it; the first of which all are there counts."""


def parent_of(labels: Mapping[str, str]) -> str | None:
    """As `kind:name`, such as `compose:shop/web` or `kubernetes:kube-system/kube-proxy-x1`; None when no label tells."""
    if not labels:
        return None
    for kind, keys in _PARENTS:
        names = [labels.get(key, "") for key in keys]
        if all(names):
            return f"{kind}:{'/'.join(names)}"
    return None
