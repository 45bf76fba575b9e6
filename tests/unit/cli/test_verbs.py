"""The verbs as people and scripts meet them: real processes, their output, their exit codes, and what they load."""

import json
import os
import re
import select
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from engine.cli.parse import LINE_BYTES
from engine.facts import BUILT_IN
from engine.messages.cloudevents import alert_event

PROGRAM = Path(sys.executable).with_name("dockwarden")
SLUB = "Jun  8 03:03:28 node kernel: [88820.247535] SLUB: Unable to allocate memory on node -1 (gfp=0x8020)"
RULE = """
rules:
  - rule: dead
    title: Dead
    severity: warning
    when:
      dead: {fact: container, status: dead}
    key: "{dead.id}"
    then:
      - alert: "{dead.name} is dead"
"""
TESTS = """
tests:
  - name: a dead one
    given:
      - {at: 0s, fact: container, id: a, name: web, status: dead}
    expect:
      - {at: 0s, rule: dead, alert: firing, key: a}
  - name: a living one
    given:
      - {at: 0s, fact: container, id: a, name: web, status: running}
    expect: []
"""


def run(
    *arguments: str | Path, given: bytes = b"", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """What a verb comes to. Nothing of the tests' own environment speaks to it."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("DOCKWARDEN_")}
    return subprocess.run(
        [PROGRAM, *arguments], input=given, capture_output=True, timeout=60, check=False, env=bare | (environment or {})
    )


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with one good rule and its tests."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "dead.yaml").write_text(RULE)
    (folder / "dead.test.yaml").write_text(TESTS)
    return folder


class TestEveryVerb:
    @pytest.mark.parametrize(
        "verb", ["", "run", "check", "test", "replay", "parse", "record", "explain", "schema", "status", "rules", "rules init"]
    )
    def test_it_explains_itself(self, verb: str) -> None:
        """`--help` works and says something."""
        done = run(*verb.split(), "--help")
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"Usage: dockwarden" in done.stdout

    @pytest.mark.parametrize(
        "arguments",
        [["check"], ["test"], ["replay", "-"], ["parse", "--source", "kernel"], ["schema", "rules"], ["schema", "facts"]],
    )
    def test_what_needs_no_docker_and_no_broker_does_not_load_their_clients(self, rules: Path, arguments: list[str]) -> None:
        """A check in an editor or in CI starts quickly, and works where no client is installed."""
        arguments = [*arguments, str(rules)] if arguments[0] in ("check", "test") else arguments
        done = subprocess.run(
            [sys.executable, "-X", "importtime", PROGRAM, *arguments], input=b"", capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0
        loaded = {name.split(".")[0] for name in re.findall(r"\| +([\w.]+)$", done.stderr.decode(), re.MULTILINE)}
        assert "typer" in loaded
        assert loaded & {"aiodocker", "aiohttp", "aiomqtt", "paho", "uvloop", "watchfiles"} == set()

    def test_an_unknown_verb_or_option_is_two(self) -> None:
        """As everywhere."""
        assert run("fly").returncode == run("check", "--fly").returncode == 2

    def test_the_version(self) -> None:
        """For a report of a bug."""
        assert re.fullmatch(rb"dockwarden \d+\.\d+\.\d+.*\n", run("--version").stdout)


class TestParse:
    def test_one_json_value_for_each_line(self) -> None:
        """`null` for what is none, whatever the bytes; the contract of scripts that zip the two."""
        lines = [SLUB.encode() + b"\n", b"\n", b"\xff\xfe\x00\n", b"just a line\n", b"no end"]
        done = run("parse", "--source", "kernel", given=b"".join(lines))
        values = [json.loads(line) for line in done.stdout.splitlines()]
        assert (done.returncode, len(values)) == (0, 5)
        assert values[0]["class"] == "slub_alloc_failure"
        assert values[1:] == [None] * 4

    def test_a_line_without_end_fills_no_memory_and_counts_once(self) -> None:
        """It is cut; what comes after it is read as usual."""
        line = b"x" * (3 * LINE_BYTES) + b"\n" + b"y" * LINE_BYTES + b"\n"
        done = run("parse", "--source", "dockerd", given=line + b"z\n")
        assert done.stdout == b"null\n" * 3

    def test_lines_that_come_in_pieces_are_whole(self) -> None:
        """Wherever what is read at once ends: inside a line, a letter, or between a line's two end characters."""
        line = SLUB.replace("node kernel", "nöde kernel").encode() + b"\r\n"
        values = [json.loads(value) for value in run("parse", "--source", "kernel", given=line * 5000).stdout.splitlines()]
        assert {value["text"] for value in values} == {line.decode().rstrip()}
        assert len(values) == 5000

    def test_answers_do_not_wait_for_the_end_of_the_input(self) -> None:
        """`journalctl -f | dockwarden parse` answers as the lines come."""
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # it would hide the fault
        with subprocess.Popen(
            [PROGRAM, "parse", "--source", "kernel"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=buffered
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(SLUB.encode() + b"\n")
            readable, _, _ = select.select([child.stdout], [], [], 30)
            answer = child.stdout.readline() if readable else b"null"
            child.stdin.close()
            assert child.wait(30) == 0
        assert json.loads(answer)["class"] == "slub_alloc_failure"

    def test_the_output_is_utf_8_whatever_the_locale(self) -> None:
        """JSON is; a locale that has no such letters must not end in a traceback."""
        line = SLUB.replace("node kernel", "nöde kernel")
        done = run(
            "parse", "--source", "kernel", given=line.encode() + b"\n", environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert "nöde" in json.loads(done.stdout)["text"]

    def test_a_reader_that_has_seen_enough_ends_it_quietly(self) -> None:
        """`dockwarden parse | head -1` is no error."""
        with subprocess.Popen(
            [PROGRAM, "parse", "--source", "kernel"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.close()
            try:
                child.stdin.write(b"line\n" * 200_000)
                child.stdin.close()
            except BrokenPipeError:
                pass
            assert child.stderr.read() == b""
            assert child.wait(30) == 0


class TestCheckAndTest:
    def test_a_good_folder_is_zero_for_both(self, rules: Path) -> None:
        """Nothing found, every test passed."""
        assert run("check", rules).returncode == 0
        assert run("test", rules).returncode == 0

    def test_a_fault_is_one_and_all_are_named(self, rules: Path) -> None:
        """Both of two faults, in text and in JSON, with their places."""
        (rules / "bad.yaml").write_text(RULE.replace("dead}", "deed}").replace("rule: dead", "rule: Bad_Name"))
        text, machine = run("check", rules), run("check", rules, "--format", "json")
        assert text.returncode == machine.returncode == 1
        assert b"bad.yaml:3:11" in text.stdout
        assert b"bad.yaml:7:" in text.stdout
        assert len(json.loads(machine.stdout)) >= 2

    def test_a_failing_test_is_one(self, rules: Path) -> None:
        """And it is named."""
        (rules / "dead.test.yaml").write_text(TESTS.replace("alert: firing", "alert: resolved"))
        done = run("test", rules)
        assert done.returncode == 1
        assert b"a dead one" in done.stdout

    def test_faulty_rules_cannot_be_tested(self, rules: Path) -> None:
        """Whatever the code, it is not zero, and there is no traceback."""
        (rules / "bad.yaml").write_bytes(b"\xff{{{")
        done = run("test", rules)
        assert done.returncode in (1, 2)
        assert b"Traceback" not in done.stdout + done.stderr

    @pytest.mark.parametrize("verb", ["check", "test"])
    def test_a_folder_that_is_not_there_is_two(self, tmp_path: Path, verb: str) -> None:
        """It could not run; a sentence says why."""
        done = run(verb, tmp_path / "none")
        assert done.returncode == 2
        assert b"there is no such folder" in done.stderr
        assert b"Traceback" not in done.stderr


class TestReplay:
    FACTS = b"".join(
        json.dumps(
            {"fact": "container", "at": f"2027-01-01T00:00:{n:02}Z", "id": str(n % 3), "name": "web", "status": status}
        ).encode()
        + b"\n"
        for n, status in enumerate(["dead", "running", "dead", "dead", "dead", "exited"])
    )

    def test_the_same_facts_give_the_same_output_from_a_file_and_from_standard_input(self, rules: Path, tmp_path: Path) -> None:
        """Deterministic to the byte: no clock, no order of a set, no id that is drawn."""
        file = tmp_path / "facts.jsonl"
        file.write_bytes(self.FACTS)
        outputs = {
            run("replay", file, "--rules", rules, "--format", "json", environment={"PYTHONHASHSEED": seed}).stdout
            for seed in ("1", "2")
        }
        outputs.add(run("replay", "-", "--rules", rules, "--format", "json", given=self.FACTS).stdout)
        (output,) = outputs
        lines = [json.loads(line) for line in output.splitlines()]
        assert [(line["status"], line["key"]) for line in lines] == [
            ("firing", "0"),
            ("firing", "2"),
            ("firing", "1"),
            ("resolved", "2"),
        ]
        assert lines[0] == {
            "at": "2027-01-01T00:00:00.000000Z",
            "rule": "dead",
            "key": "0",
            "does": "alert",
            "status": "firing",
            "severity": "warning",
            "text": "web is dead",
            "facts": ["line-1"],
        }

    def test_a_line_that_is_no_fact_is_named_and_the_others_count(self, rules: Path) -> None:
        """Exit code 1, the number of the line, and the decisions all the same."""
        done = run("replay", "-", "--rules", rules, "--format", "json", given=b"{\n[]\n\xff\n" + b"[" * 5000 + b"\n" + self.FACTS)
        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == 4
        assert b"line 1: " in done.stderr
        assert b"Traceback" not in done.stderr

    def test_a_file_that_is_not_there_is_two(self, rules: Path, tmp_path: Path) -> None:
        """It could not run."""
        assert run("replay", tmp_path / "none", "--rules", rules).returncode == 2


class TestSchema:
    @pytest.mark.parametrize("what", ["rules", "facts", "alert"])
    def test_it_is_a_json_schema(self, what: str) -> None:
        """Valid by its own metaschema, the newest one where it names none."""
        schema = json.loads(run("schema", what).stdout)
        jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)

    def test_what_parse_and_the_models_say_is_valid_by_the_schema_of_facts(self) -> None:
        """A fact out of `parse` and a retraction pass, a fact of no kind does not."""
        schema = json.loads(run("schema", "facts").stdout)
        parsed = json.loads(run("parse", "--source", "kernel", given=SLUB.encode() + b"\n").stdout)
        validator = jsonschema.Draft202012Validator(schema)
        validator.validate(parsed)
        validator.validate({"retract": "container", "key": "a", "at": "2027-01-01T00:00:00Z"})
        assert not validator.is_valid({**parsed, "fact": "kernel_evint"})
        assert not validator.is_valid({**parsed, "class": "unheard_of"})
        assert len(schema["anyOf"]) == len(BUILT_IN) + 1

    def test_an_alert_that_is_sent_is_valid_by_the_schema_of_alerts(self) -> None:
        """What consumers generate code from is what they get."""
        schema = json.loads(run("schema", "alert").stdout)
        row = alert_event(
            host="h",
            rule="dead",
            key="k",
            status="firing",
            severity="warning",
            summary="s",
            starts_at=0,
            updated_at=0,
            ends_at=None,
            count=1,
            evidence=({"fact": "container"},),
            actions=[],
            labels={},
            annotations={},
            runbook_url=None,
            rules_version="v",
            seq=1,
        )
        jsonschema.Draft202012Validator(schema).validate(json.loads(row.payload)["data"])


class TestFaults:
    def test_unusable_settings_and_rules_are_two_and_nothing_starts(self, tmp_path: Path) -> None:
        """`run` names every fault and leaves no state folder behind."""
        config = tmp_path / "config.yaml"
        config.write_text("mod: act\nmode: perhaps\n")
        done = run("run", "--config", config, "--state", tmp_path / "state")
        assert done.returncode == 2
        assert b"unknown setting `mod`" in done.stderr
        assert b"mode: " in done.stderr
        assert not (tmp_path / "state").exists()

    def test_status_without_a_sidecar_is_two(self, tmp_path: Path) -> None:
        """And says where it was looked for."""
        done = run("status", "--state", tmp_path)
        assert done.returncode == 2
        assert str(tmp_path / "status.sock").encode() in done.stderr
        assert b"Traceback" not in done.stderr

    def test_explain_without_a_journal_is_two(self, tmp_path: Path) -> None:
        """And says so."""
        done = run("explain", "--state", tmp_path)
        assert done.returncode == 2
        assert b"there is no journal" in done.stderr


def test_a_name_that_the_terminal_cannot_show_ends_nothing(tmp_path: Path) -> None:
    """On an output without UTF-8, the first name beyond ASCII ended the replay with a traceback."""
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "r.yaml").write_text(RULE)
    facts = [
        {"fact": "container", "id": id_, "name": name, "status": "dead", "at": "2026-11-20T16:00:00Z"}
        for id_, name in (("a", "caf\u00e9"), ("b", "plain"))
    ]
    done = subprocess.run(
        [PROGRAM, "replay", "-", "--rules", rules],
        input="".join(json.dumps(fact) + "\n" for fact in facts).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.rpartition(b": ")[2] for line in done.stdout.splitlines()] == [rb"caf\xe9 is dead", b"plain is dead"]
