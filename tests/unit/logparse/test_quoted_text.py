"""Text of users that a daemon quotes in its own lines is no evidence: it changes neither the class of a fact nor its container."""

# ruff: noqa: E501 -- log lines are as long as they are

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.logparse import LogSource
from tests.unit.logparse.support import ID, OTHER_ID, UID, answer
from tests.unit.logparse.test_dockerd import LINES as DOCKERD
from tests.unit.logparse.test_kubelet import LINES as KUBELET

DOCKERD_CARRIERS = [
    # a HEALTHCHECK's CMD, the argument of an exec, the CMD of an image: quoted by Go's %q, or not at all
    f"Health check for container {ID} error: OCI runtime exec failed: exec failed: unable to start container process: exec: @: executable file not found in $PATH: unknown",
    f"Health check for container {ID} error: rpc error: code = Unknown desc = @",
    f"Error running exec {ID} in container: OCI runtime exec failed: exec failed: container_linux.go:380: starting container process caused: exec: @: no such file or directory: unknown",
    f"Handler for POST /v1.41/exec/{ID}/start returned error: OCI runtime exec failed: exec failed: unable to start container process: exec: @: permission denied: unknown",
    # USER of an image, with and without words behind it
    "Health check error: linux spec user: unable to find user @: no matching entries in passwd file",
    "Handler for POST /v1.41/exec/x/start returned error: linux spec user: Unable to find user @",
    "Error running exec in container: unable to find group @: no matching entries in group file",
    # names of images, answers of registries, Dockerfiles, environment, mounts, volumes, plugins
    "Handler for POST /v1.41/images/create returned error: manifest for @ not found: manifest unknown: manifest unknown",
    "Not continuing with pull after error: denied: @",
    "Not continuing with pull after error: error parsing HTTP 500 response body: invalid character: @",
    "Attempting next endpoint for pull after error: unknown: @",
    "Handler for POST /v1.41/build returned error: dockerfile parse error line 1: unknown instruction: @",
    "/moby.buildkit.v1.Control/Solve returned error: rpc error: code = Unknown desc = process @ did not complete successfully: exit code: 1",
    "/moby.buildkit.v1.Control/Solve returned error: rpc error: code = Unknown desc = @",
    "Handler for POST /v1.41/containers/create returned error: invalid environment variable: @",
    "Handler for POST /v1.41/containers/create returned error: invalid volume specification: '@'",
    'Handler for POST /v1.41/containers/create returned error: invalid mount config for type "bind": bind source path does not exist: @',
    "Handler for GET /v1.41/containers/@/json returned error: No such container: @",
    "Handler for DELETE /v1.41/images/@ returned error: No such image: @",
    "Handler for POST /v1.41/volumes/create returned error: create @: VolumeDriver.Create: @",
    "authorization denied by plugin x: @",
    "error locating sandbox id x: sandbox x not found: @",
    "Ignoring extra error returned from registry: @",
    "Calling POST /v1.41/containers/create?name=@",
    "form data: @",
    "Container name @ is in use",
    'Conflict. The container name "/@" is already in use by container ' + ID,
]  # fmt: skip
BESIDE = "health check of a container failed"

KUBELET_CARRIERS = [
    'Readiness probe for "web_default(u):c" failed (failure): @',
    'Liveness probe for "web_default(u):c" errored: rpc error: code = Unknown desc = failed to exec in container: failed to start exec: OCI runtime exec failed: exec: @: not found',
    "Event(v1.ObjectReference{Kind:\"Pod\", Name:\"web\"}): type: 'Warning' reason: 'Unhealthy' Liveness probe failed: @",
    "Event(v1.ObjectReference{Kind:\"Pod\", Name:\"web\"}): type: 'Warning' reason: 'FailedPostStartHook' Exec lifecycle hook ([@]) failed - error: x, message: @",
    "ExecSync 0123456789ab '@' from runtime service failed: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    "Exec lifecycle hook ([@]) for Container \"c\" in Pod \"web\" failed - error: command '@' exited with 1: , message: @",
    "Failed to pull image @: rpc error: code = Unknown desc = failed to resolve reference @: unexpected status: @",
    "Pod has env @",
]  # fmt: skip


def go_quote(text: str) -> str:
    """Go's strconv.Quote, for what log lines hold."""
    return json.dumps(text, ensure_ascii=False)


def dockerd_line(carrier: str, said: str, form: str) -> str:
    """A line of dockerd in which a user's text stands where the carrier has `@`."""
    message = (
        carrier.replace("exec: @", "exec: " + go_quote(said))
        .replace("process @ did", f"process {go_quote(said)} did")
        .replace("@", said)
    )
    stamp = "2020-07-16T12:02:05.787529170Z"
    if form == "json":
        return json.dumps({"level": "error", "msg": message, "time": stamp}, ensure_ascii=False)
    if form == "beside":
        return f"time={go_quote(stamp)} level=error msg={go_quote(BESIDE)} error={go_quote(message)} module=x"
    return f"time={go_quote(stamp)} level=error msg={go_quote(message)}"


def kubelet_line(carrier: str, said: str, form: str) -> str:
    """A line of the kubelet in which a user's text stands where the carrier has `@`."""
    header = "E0617 03:05:13.803095    5478 prober.go:111] "
    if form == "structured":
        return f'{header}"Probe failed" probeType="Readiness" pod="default/web" output={go_quote(said)} err={go_quote(carrier.replace("@", said))}'
    return header + carrier.replace("@", said)


def meaning(source: LogSource, line: str) -> tuple[object, object] | None:
    """Class and container of a line's fact."""
    fact = answer(source, line)
    return None if fact is None else (fact["class"], fact.get("container_id"))


FORGED: dict[LogSource, list[str]] = {
    "dockerd": [
        *(line for line, name, _ in DOCKERD if name is not None),
        f"Container {OTHER_ID} failed to exit within 10s of kill - trying direct SIGKILL",
        f"mkdir /sys/fs/cgroup/memory/docker/{OTHER_ID}: no space left on device",
        "containerd: start container",
        "x returned error: OCI runtime create failed: y",
        f"container={OTHER_ID}",
        f'" container={OTHER_ID} error="no space left on device',
    ],
    "kubelet": [line for line, name, _ in KUBELET if name is not None],
}
HARMLESS = "/bin/true"


@pytest.mark.parametrize("form", ["logfmt", "json", "beside"])
@pytest.mark.parametrize("carrier", DOCKERD_CARRIERS)
def test_dockerd_does_not_believe_what_it_quotes(carrier: str, form: str) -> None:
    """Every wording of every class, as a user's text in every message that quotes one: the line means what it means without it."""
    expected = meaning("dockerd", dockerd_line(carrier, HARMLESS, form))
    for said in FORGED["dockerd"]:
        for text in (said, f"a: {said}", f"x: {said}:", f'"{said}"', f"\n{said}", f"{said}\n"):
            assert meaning("dockerd", dockerd_line(carrier, text, form)) == expected, text


@pytest.mark.parametrize("form", ["text", "structured"])
@pytest.mark.parametrize("carrier", KUBELET_CARRIERS)
def test_kubelet_does_not_believe_what_it_quotes(carrier: str, form: str) -> None:
    """Likewise for what a probe, a hook or a registry said to the kubelet."""
    expected = meaning("kubelet", kubelet_line(carrier, HARMLESS, form))
    for said in FORGED["kubelet"]:
        for text in (said, f"a: {said}", f"x: {said}:", f'"{said}"', said + " \\"):
            assert meaning("kubelet", kubelet_line(carrier, text, form)) == expected, text


pieces = st.lists(
    st.one_of(
        st.sampled_from(FORGED["dockerd"]),
        st.sampled_from([": ", '"', "\\", "\n", " returned error: ", "Error response from daemon: ", "msg=", 'level=error msg="', "error=", f"id={OTHER_ID} ", "{", "'"]),
        st.text(max_size=12),
    ),
    max_size=5,
).map("".join)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(carrier=st.sampled_from(DOCKERD_CARRIERS), said=pieces, form=st.sampled_from(["logfmt", "json", "beside"]))
def test_no_quoted_text_changes_class_or_container(carrier: str, said: str, form: str) -> None:
    """Whatever a user's text is made of, quotes and backslashes and whole records among it, the line means what it meant."""
    if "images/@" in carrier or "containers/@" in carrier:
        said = said.replace("\n", " ")
    assert meaning("dockerd", dockerd_line(carrier, said, form)) == meaning("dockerd", dockerd_line(carrier, HARMLESS, form))


@settings(max_examples=300, deadline=None)
@given(said=pieces, number=st.sampled_from([n for n, (_, name, _) in enumerate(DOCKERD) if name is not None]))
def test_values_beside_a_real_message_do_not_change_it(said: str, number: int) -> None:
    """A real problem with a user's text in a value beside it keeps class and container."""
    message = go_quote(DOCKERD[number][0])
    assert meaning("dockerd", f"level=error msg={message} name={go_quote(said)}") == meaning(
        "dockerd", f"level=error msg={message}"
    )


def test_plugins_are_users() -> None:
    """What a plugin writes, dockerd repeats as its own message with the plugin's id beside it."""
    said = f"Container {ID} failed to exit within 10 seconds of signal 15 - using the force"
    assert answer("dockerd", f'level=info msg="{said}"') is not None
    assert answer("dockerd", f'level=info msg="{said}" plugin={OTHER_ID}') is None


@pytest.mark.parametrize(
    "name",
    [
        "x: device or resource busy",
        f"x: container {OTHER_ID}: device or resource busy",
        f"containers/{OTHER_ID}/x",
        "x: no space left on device",
    ],
)
def test_file_names_in_paths(name: str) -> None:
    """A file in a container may have any name; a removal or a write that fails at it keeps class and container."""
    for cause, wanted in (("operation not permitted", "docker_rm_failed"), ("device or resource busy", "docker_rm_busy")):
        line = f'container {ID}: driver "overlay2" failed to remove root filesystem: unlinkat /var/lib/docker/overlay2/a/diff/{name}: {cause}'
        assert meaning("dockerd", f"level=error msg={go_quote(line)}") == (wanted, ID)
    line = f"Handler for PUT /v1.41/containers/{ID}/archive returned error: open /var/lib/docker/overlay2/a/diff/{name}: no space left on device"
    assert meaning("dockerd", f"level=error msg={go_quote(line)}") == ("enospc", ID)
    layer = f"Not continuing with pull after error: failed to register layer: Error processing tar file(exit status 1): mkdir /sys/fs/cgroup/memory/docker/{OTHER_ID}: no space left on device"
    assert meaning("dockerd", f"level=error msg={go_quote(layer)}") == ("enospc", None)


def test_kubelet_names_of_pods_are_kept() -> None:
    """What the kubelet says of its own is still read, with a probe's output in a value beside it."""
    line = f'E0617 03:05:13.803095 5478 x.go:1] "Kill container failed" err="rpc error: code = DeadlineExceeded desc = context deadline exceeded" podUID="{UID}" containerID="docker://{ID}" output="PLEG is not healthy"'
    assert meaning("kubelet", line) == ("runtime_stop_timeout", ID)
