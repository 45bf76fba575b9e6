"""Who is protected, who is the parent, which socket, whom to inspect next, how full the pool is."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors.docker.api.client import from_environment, resolve
from connectors.docker.api.readings import Pool, parent_of, read_pool, size
from connectors.docker.containers.protection import Protection
from connectors.docker.containers.watchlist import Watchlist
from connectors.docker.health.probe import Candidates
from engine.errors import SettingsError
from engine.facts.docker import Container, ContainerStatus
from engine.ports.docker import ContainerSummary

START = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)


def fact(number: int, status: ContainerStatus, **fields: object) -> Container:
    """A container."""
    return Container.model_validate({"at": START, "id": f"{number:064x}", "status": status} | fields)


@pytest.mark.parametrize(
    ("name", "image", "labels", "covered"),
    [
        ("web", "x:1", {}, False),
        ("web", "x:1", {"dockwarden.protect": "true"}, True),
        ("web", "x:1", {"dockwarden.protect": " TRUE "}, True),
        ("web", "x:1", {"dockwarden.protect": "false"}, False),
        ("db-1", "x:1", {}, True),
        ("web", "registry/ha:2", {}, True),
    ],
)
def test_protection(name: str, image: str, labels: dict[str, str], covered: bool) -> None:
    """By label, by a pattern for names, by a pattern for images."""
    protection = Protection(names=("db-*",), images=("registry/ha:*",))
    assert protection.covers(name=name, image=image, labels=labels) is covered


@pytest.mark.parametrize(
    ("labels", "parent"),
    [
        ({}, None),
        ({"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}, "compose:shop/web"),
        ({"com.docker.compose.project": "shop"}, None),
        (
            {"io.kubernetes.pod.name": "kube-proxy-x", "io.kubernetes.pod.namespace": "kube-system"},
            "kubernetes:kube-system/kube-proxy-x",
        ),
        ({"com.docker.swarm.service.name": "web"}, "swarm:web"),
        ({"io.rancher.stack_service.name": "net/ipsec"}, "rancher:net/ipsec"),
        ({"io.rancher.container.name": "agent"}, "rancher:agent"),
    ],
)
def test_parents(labels: dict[str, str], parent: str | None) -> None:
    """What keeps creating a container, where its labels say all of it."""
    assert parent_of(labels) == parent


def test_the_engine_s_address() -> None:
    """DOCKER_HOST, else the first usual socket that is there, else the usual one, which may come later."""
    assert resolve("tcp://10.0.0.1:2375") == "tcp://10.0.0.1:2375"
    assert resolve("/x/docker.sock") == "unix:///x/docker.sock"
    assert resolve(None, exists=lambda path: path == "/run/docker.sock") == "unix:///run/docker.sock"
    assert resolve(None, exists=lambda _: False) == "unix:///var/run/docker.sock"
    assert from_environment({"DOCKER_HOST": "unix:///y.sock"}) == "unix:///y.sock"
    assert from_environment({"DOCKER_HOST": ""}).startswith("unix:///")
    for wrong in ("ssh://x", "docker.sock", "unix://", "npipe:////./pipe/x"):
        with pytest.raises(SettingsError, match="DOCKER_HOST"):
            resolve(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16.2 GB", 16.2e9),
        ("40.19MB", 40.19e6),
        ("65.54 kB", 65_540),
        ("0 B", 0),
        ("1.5GiB", 1.5 * 1024**3),
        ("20.0 mb", 20e6),
        ("12345", 12_345),
        ("", None),
        ("x GB", None),
        ("-1 GB", None),
        ("1 XB", None),
        ("1" * 30 + " GB", None),
    ],
)
def test_sizes(text: str, expected: float | None) -> None:
    """As printed by Docker before and after 1.13, and by engines that speak its API."""
    assert size(text) == (None if expected is None else pytest.approx(expected))


def test_pools() -> None:
    """The published figures of a host; a driver without a pool; total zero; more used than there is."""
    pairs = [("Data Space Used", "16.2 GB"), ("Data Space Total", "33.97 GB"), ("Deferred Removal Enabled", "true")]
    pool = read_pool(pairs)
    assert pool.data_ratio == pytest.approx(0.4769, abs=1e-4)
    assert (pool.metadata_ratio, pool.deferred_removal, pool.deferred_deletion) == (None, True, None)
    assert read_pool([("Backing Filesystem", "extfs")]) == Pool()
    assert read_pool([("Data Space Used", "1 GB"), ("Data Space Total", "0 B")]).data_ratio is None
    assert read_pool([("Data Space Used", "2 GB"), ("Data Space Total", "1 GB")]).data_ratio == 1.0


def test_the_dying_are_inspected_first_and_the_rest_within_bounds() -> None:
    """Removing before dead before created; a storm of exited ones costs nothing."""
    watchlist = Watchlist()
    containers = [fact(1, "dead"), fact(2, "removing"), *(fact(n, "exited", exit_code=0) for n in range(100, 6_100))]
    assert watchlist.due(containers, 0.0) == [f"{2:064x}", f"{1:064x}"]
    assert watchlist.due(containers, 2.0) == [f"{2:064x}"]
    assert watchlist.due(containers, 31.0) == [f"{2:064x}", f"{1:064x}"]
    many = [fact(n, "removing") for n in range(100)]
    first, second = watchlist.due(many, 40.0), watchlist.due(many, 42.0)
    assert len(first) == len(second) == 16
    assert not set(first) & set(second)


def test_a_created_container_is_asked_a_few_times_and_then_left_alone() -> None:
    """A failed start shows within seconds; a container that nobody starts is not asked for ever."""
    watchlist = Watchlist()
    asked = [second for second in range(0, 3_600, 2) if watchlist.due([fact(1, "created")], float(second))]
    assert asked == [4, 16, 60, 300]


def test_details_are_asked_once_for_each_state() -> None:
    """A running container without a process id, an exited one without a code; again when the state changes."""
    watchlist = Watchlist()
    running, exited = fact(1, "running"), fact(1, "exited")
    states = [running] * 10 + [exited] * 10
    asked = [second for second, state in enumerate(states) if watchlist.due([state], float(second * 2))]
    assert asked == [3, 13]
    assert watchlist.due([fact(2, "running", pid=5), fact(3, "exited", exit_code=0)], 100.0) == []
    assert watchlist.due([fact(2, "running", pid=5), fact(3, "exited", exit_code=0)], 200.0) == []


def test_the_running_take_turns_and_the_newest_starts_are_always_looked_at() -> None:
    """Within a bounded number of looks each running container is chosen; of the created ones the newest."""
    listed = [ContainerSummary(f"{n:064x}", status="running") for n in range(10)]
    listed += [ContainerSummary(f"{n:064x}", status="created", created_at=START + timedelta(seconds=n)) for n in range(20, 30)]
    listed.append(ContainerSummary(f"{99:064x}", status="created"))
    candidates = Candidates()
    looks = [candidates.choose(listed, all_of_them=False) for _ in range(3)]
    newest = [f"{n:064x}" for n in (29, 28, 27, 26)]
    assert all(look[:4] == newest for look in looks)
    assert {id_ for look in looks for id_ in look[4:]} == {f"{n:064x}" for n in range(10)}
    assert all(len(look) == 8 for look in looks)
    assert len(candidates.choose(listed, all_of_them=True)) == 21
    assert Candidates().choose([], all_of_them=True) == []
