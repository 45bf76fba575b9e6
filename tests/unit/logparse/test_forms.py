"""Every wording of every class in every form in which its log is read, and what must stay without one in all of them."""

import json

import pytest

from engine.logparse import LogSource
from tests.unit.logparse.support import NOW, answer, says
from tests.unit.logparse.test_dockerd import LINES as DOCKERD
from tests.unit.logparse.test_framing import PREFIXES
from tests.unit.logparse.test_kernel import LINES as KERNEL
from tests.unit.logparse.test_kubelet import LINES as KUBELET

HEADER = "E0617 03:05:13.803095    5478 kubelet.go:346] "
STAMP = NOW.isoformat()


def go_quote(text: str) -> str:
    """Go's strconv.Quote."""
    return json.dumps(text, ensure_ascii=False)


DOCKERD_FORMS = {
    "text": "time={stamp} level=error msg={quoted}",
    "no-time": "level=error msg={quoted}",
    "rfc3164": "Jul 16 12:02:05 host dockerd[639]: time={stamp} level=error msg={quoted}",
    "rfc3164-fraction": "Jul 16 12:02:05.787529 host dockerd[639]: time={stamp} level=error msg={quoted}",
    "iso": "2020-07-16T12:02:05.787529+02:00 host dockerd[639]: time={stamp} level=error msg={quoted}",
    "rfc5424": "<27>1 2020-07-16T12:02:05Z host dockerd 639 - - time={stamp} level=error msg={quoted}",
    "short-unix": "1594900925.787529 host dockerd[639]: time={stamp} level=error msg={quoted}",
    "localised": "7月 16 12:02:05 host dockerd-current[639]: time={stamp} level=error msg={quoted}",
    "json": '{{"level":"error","msg":{quoted},"time":{stamp}}}',
    "syslog-json": 'Jul 16 12:02:05 host dockerd[639]: {{"level":"error","msg":{quoted},"time":{stamp}}}',
    "plain": "{line}",
    "syslog-plain": "Jul 16 12:02:05 host dockerd: {line}",
    "terminal": "ERRO[0010] {line}",
    "old": "2014/05/08 19:14:57 {line}",
    "old-level": "[error] {line}",
}
KUBELET_FORMS = {
    "klog": "{line}",
    "rfc3164": "Jun 17 03:05:13 node kubelet[5478]: {line}",
    "iso": "2020-06-17T03:05:13.803095+00:00 node kubelet[5478]: {line}",
    "short-unix": "1592363113.803095 node kubelet[5478]: {line}",
    "rfc5424": "<27>1 2020-06-17T03:05:13Z node kubelet 5478 - - {line}",
    "wrapper": "Jun 17 03:05:13 node kubelet-wrapper[5478]: {line}",
    "cri": "2020-06-17T03:05:13.803095123Z stderr F {line}",
    "json-file": '{{"log":{quoted},"stream":"stderr","time":"2020-06-17T03:05:13.803095Z"}}',
}


def dockerd_line(form: str, line: str) -> str:
    """The message as dockerd's log has it in that form."""
    return DOCKERD_FORMS[form].format(line=line, quoted=go_quote(line), stamp=go_quote(STAMP))


@pytest.mark.parametrize("form", DOCKERD_FORMS)
@pytest.mark.parametrize("around", ["", "cri", "json-file"])
def test_dockerd(form: str, around: str) -> None:
    """All wordings of dockerd, also where dockerd runs in a container and its log is a container's."""
    for line, name, fields in DOCKERD:
        whole = dockerd_line(form, line)
        if around == "cri":
            whole = f"2020-06-17T03:05:13.803095123Z stderr F {whole}"
        elif around == "json-file":
            whole = json.dumps({"log": whole + "\n", "stream": "stderr", "time": "2020-06-17T03:05:13.8Z"}, separators=(",", ":"))
        says(answer("dockerd", whole), name, fields)


@pytest.mark.parametrize("form", KUBELET_FORMS)
def test_kubelet(form: str) -> None:
    """All wordings of the kubelet."""
    for line, name, fields in KUBELET:
        whole = KUBELET_FORMS[form].format(line=HEADER + line, quoted=go_quote(HEADER + line + "\n"))
        says(answer("kubelet", whole), name, fields)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_kernel(prefix: str) -> None:
    """All wordings of the kernel behind all prefixes."""
    for line, name, fields in KERNEL:
        says(answer("kernel", prefix + line), name, fields)


NOT_THE_KERNEL = [
    "Jun  8 03:03:28 node app[17]: {}",
    "Jun  8 03:03:28 node app[17]: kernel: {}",
    "Jun  8 03:03:28 node audit[1]: EXECVE argc=2 a0=logger a1={}",
    "Jun  8 03:03:28 node sudo[1]: root : COMMAND=/bin/echo {}",
    "Jun  8 03:03:28 node dockerd[639]: time=x level=info msg={}",
    "Jun  8 03:03:28 node 3f4e5d6c7b8a[639]: [   12.345678] {}",
    "type=EXECVE msg=audit(1529034124.123:7): argc=2 a1={}",
    "audit: type=1309 audit(1529034124.123:7): argc=2 a1={}",
    "2020-06-17T03:05:13.803095123Z stdout F {}",
    "2020-06-17T03:05:13.803095123Z stdout F [   12.345678] {}",
    "web_1  | {}",
    "app: {}",
    "> {}",
    '"{}"',
    "ERROR {}",
    "message was: {}",
    "14,1234,12345678,-;{}",
    "<14>{}",
    "systemd[1]: {}",
]


@pytest.mark.parametrize("around", NOT_THE_KERNEL)
def test_a_quoted_kernel_message_is_no_evidence(around: str) -> None:
    """What an application, an audit record or a container writes of the kernel's words is not the kernel's."""
    for line, name, _ in KERNEL:
        if name is not None:
            assert answer("kernel", around.format(line)) is None, line
    assert (
        answer("kernel", json.dumps({"log": "[   12.345678] Out of memory: Killed process 1 (a)\n", "stream": "stdout"})) is None
    )


NOT_DOCKERD = [
    "Jul 16 12:02:05 host app[639]: {}",
    'time="2020-07-16T12:02:05Z" level=info msg="user says: {}"',
    'time="2020-07-16T12:02:05Z" level=info msg="ignoring event" text="{}"',
    'time="2020-07-16T12:02:05Z" level=debug msg="Calling POST /v1.41/containers/x?name={}"',
    "type=EXECVE msg=audit(1529034124.123:7): argc=2 a1={}",
    "web_1  | {}",
    "> {}",
]


NOT_KUBELET = [
    "I0617 03:05:13.803095 5478 x.go:1] user says: {}",
    "\t{}",
    "Jun 17 03:05:13 node kubelet[5478]: \tE0617 03:05:13.803095 5478 x.go:1] {}",
]


@pytest.mark.parametrize(
    ("source", "around"), [*(("dockerd", form) for form in NOT_DOCKERD), *(("kubelet", form) for form in NOT_KUBELET)]
)
def test_a_quoted_daemon_message_is_no_evidence(source: LogSource, around: str) -> None:
    """A daemon's words in somebody's text, in a value, or in an indented line that goes on are no evidence."""
    for line, name, _ in DOCKERD if source == "dockerd" else KUBELET:
        if name is not None and '"' not in line:
            assert answer(source, around.format(line)) is None, line
