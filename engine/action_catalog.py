"""What rules may ask for: every action with its parameters. A catalogue, no doing: connectors do.

The check reads it to judge `do:`, the guardrails read it to judge a decision, the reference is printed from it.
"""

from dataclasses import dataclass
from typing import Any, Literal

ParamType = Literal["string", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of an action."""

    type: ParamType
    doc: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action. `target` names the parameters that say what it is done to; `container` the one that names a container."""

    name: str
    doc: str
    params: dict[str, Param]
    target: tuple[str, ...]
    container: str | None = None
    needs: str = ""
    """Privileges it needs, beyond Docker's socket."""
    changes: bool = True
    """False: it only looks, and so runs in mode observe too."""
    touches_running: bool = False
    """True: it is meant for running containers (and so must be allowed by policy for each)."""
    idempotent: bool = True
    """False: doing it twice does more than doing it once; an attempt that a crash cut off counts as made."""
    stands_on: tuple[str, ...] = ()
    """Kinds of facts, beside those about its containers, that have to be told anew after a start before it is done."""

    def target_of(self, params: dict[str, Any]) -> str:
        """What it is done to, as one text: for rates, audit and the MQTT topic."""
        return ":".join(str(params.get(name, "")) for name in self.target) or self.name


_CONTAINER = Param("string", "Full container id.")

_SPECS = (
    ActionSpec(
        "remove_container",
        "Delete a container that does not run (by force only if it is dead); anonymous volumes stay unless `volumes` is true.",
        {"container": _CONTAINER, "volumes": Param("boolean", "Remove its anonymous volumes too.", required=False)},
        target=("container",),
        container="container",
    ),
    ActionSpec(
        "inspect_mounts",
        "Look through all mount namespaces for mounts that belong to this container; each found is a `mount_leak` fact.",
        {"container": _CONTAINER},
        target=("container",),
        container="container",
        needs="SYS_PTRACE and the host's process ids, to read /proc/PID/mountinfo",
        changes=False,
    ),
    ActionSpec(
        "unmount",
        "Unmount, inside the holder's mount namespace, a mount that belongs to a container which is dead, being removed or gone.",
        {
            "holder": Param("string", "Container that holds the mount."),
            "path": Param("string", "Mount point as the holder sees it."),
            "container": Param("string", "Container the mount belongs to."),
        },
        target=("holder", "path"),
        container="container",
        needs="SYS_ADMIN, SYS_CHROOT, SYS_PTRACE and the host's process ids",
    ),
    ActionSpec(
        "retry_now",
        "Run the scheduled retries that concern this container at once instead of after their backoff.",
        {"container": _CONTAINER},
        target=("container",),
        container="container",
    ),
    ActionSpec(
        "restart_container",
        "Restart a container, as `docker restart` does.",
        {"container": _CONTAINER, "timeout": Param("integer", "Seconds to wait before it is killed.", required=False)},
        target=("container",),
        container="container",
        touches_running=True,
        idempotent=False,
    ),
    ActionSpec(
        "collect_stacks",
        "Have dockerd write its goroutine stacks and state to files (SIGUSR1), and name the files.",
        {},
        target=(),
        needs="the right to signal dockerd (same user or KILL) and the host's process ids",
    ),
    ActionSpec(
        "kill_runc",
        "Kill a `runc` process that waits for an init process which is gone, so that Docker goes on.",
        {"pid": Param("integer", "Process id of that runc.")},
        target=("pid",),
        idempotent=False,
        stands_on=("daemon",),
        needs="KILL, SYS_PTRACE and the host's process ids",
    ),
    ActionSpec(
        "raise_nofile",
        "Raise the soft limit of open files of a running process (prlimit), never above its hard limit or the ceiling.",
        {"pid": Param("integer", "Process id on the host."), "limit": Param("integer", "New soft limit.")},
        target=("pid",),
        stands_on=("process_files",),
        needs="SYS_RESOURCE (or the same user), SYS_PTRACE and the host's process ids",
    ),
    ActionSpec(
        "prune_images",
        "Remove dangling images: untagged and used by no container.",
        {},
        target=(),
    ),
    ActionSpec(
        "freeze_action",
        "Have every host of the fleet stop an action, by a signed command to each; it ends when all have confirmed. "
        "Done by the fleet's engine alone.",
        {"name": Param("string", "Action that all hosts are to stop.")},
        target=("name",),
        needs="the fleet's key (fleet.key_file), which each host has among its operators' keys",
    ),
)

ACTIONS: dict[str, ActionSpec] = {spec.name: spec for spec in _SPECS}
