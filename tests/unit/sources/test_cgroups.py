"""Container ids in control group paths."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.proc import container_of, container_of_pid

ID, INNER = "a1" * 32, "b2" * 32


@pytest.mark.parametrize(
    "path",
    [
        "4:memory:/docker/ID",
        "0::/docker/ID",
        "0::/system.slice/docker-ID.scope",
        "11:cpu,cpuacct:/kubepods/burstable/pod7fa8-12/ID",
        "1:name=systemd:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7.slice/docker-ID.scope",
        "0::/kubepods.slice/kubepods-pod7.slice/cri-containerd-ID.scope",
        "0::/kubepods.slice/kubepods-pod7.slice/crio-ID.scope",
        "0::/machine.slice/libpod-ID.scope/container",
        "5:pids:/system.slice/containerd.service/kubepods-burstable-pod7.slice:cri-containerd:ID",
        "0::/../ID",
        "0::/../docker-ID.scope",
        "0::/docker/ID/docker/INNER",
        "0::/docker/ID/init.scope",
        "2:cpu:/\n1:name=systemd:/docker/ID\n0::/",
    ],
)
def test_every_shape(path: str) -> None:
    """Both versions, all runtimes, nested kinds: the outermost container is the one that the host's engine knows."""
    assert container_of(path.replace("ID", ID).replace("INNER", INNER).encode()) == ID


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "0::/",
        "0::/user.slice/user-0.slice/session-1.scope",
        "0::/docker/ID9",
        "0::/docker/IDx",
        "0::/x/crio-conmon-ID.scope",
        "0::/docker/" + ID.upper(),
        "0::/docker/" + ID[:12],
    ],
)
def test_no_container(path: str) -> None:
    """The host's own processes, and what only looks like an id."""
    assert container_of(path.replace("ID", ID).encode()) is None


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    """Whatever stands there, no exception."""
    assert container_of(raw) is None or len(container_of(raw) or "") == 64


def test_a_process_that_is_gone() -> None:
    """None, as for one of the host."""
    assert container_of_pid(2**22 - 1) is None
    assert container_of_pid(os.getpid()) is None or len(container_of_pid(os.getpid()) or "") == 64
