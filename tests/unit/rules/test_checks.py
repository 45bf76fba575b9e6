"""Checks at their edges: what they must find beside the golden files, and what they must let pass."""

import pytest

from engine.rules.reader import check_texts, render_text
from tests.unit.rules.good import rule


def found(data: bytes) -> list[str]:
    """Names of the checks that found something."""
    return [finding.check.name for finding in check_texts([("rules.yaml", data)]).findings]


C = "[{alert: '{c.name}'}]"
CD = "[{alert: '{c.name} {d.name}'}]"


@pytest.mark.parametrize(
    ("when", "then"),
    [
        # bounds that leave a value
        ("{p: {fact: process_files, open|gt: 5, open|lt: 7}}", "[{alert: '{p.open}'}]"),
        ("{p: {fact: process_files, open|gte: 5, open|lte: 5}}", "[{alert: '{p.open}'}]"),
        ("{d: {fact: disk, used_ratio|gt: 0.8, used_ratio|lt: 0.81}}", "[{alert: '{d.path}'}]"),
        ("{d: {fact: disk, used_ratio|gt: [0.5, 0.9], used_ratio|lt: 0.7}}", "[{alert: '{d.path}'}]"),
        # tests that go together
        ("{c: {fact: container, status: [dead, exited], status|ne: dead}}", C),
        ("{c: {fact: container, image: 'nginx:1', image|startswith: nginx, image|re: '^n'}}", C),
        ("{c: {fact: container, error|exists: false, error|ne: busy}}", C),
        ("{c: {fact: container, labels.com.example|exists: false}}", C),
        ("{c: {fact: container, labels|contains: com.example}}", C),
        ("{k: {fact: kubelet_event, pods|contains: kube-system/kube-proxy}}", "[{alert: '{k.pods}'}]"),
        # whole numbers for shares, and times for times
        ("{d: {fact: disk, used_ratio: 1}}", "[{alert: '{d.path}'}]"),
        ("{c: {fact: container, finished_at|gt: $d.at}, d: {fact: disk, path: /}}", "[{alert: '{c.name} {d.path}'}]"),
        # two patterns over one kind
        ("{c: {fact: container, status: dead}, d: {fact: container, image: $c.image}}", CD),
        # joins in both directions, and in a ring
        ("{c: {fact: container, name: $d.image}, d: {fact: container, name: $c.image}}", CD),
        # a pattern that only has to be there
        ("{c: {fact: container, status: dead}, _d: {fact: disk, used_ratio|gt: 0.9}}", C),
        ("{c: {fact: container, status: dead}, m: {missing: {fact: daemon}, for: 5m}}", C),
        # used by unless, key or retract alone
        ("{c: {fact: container}, d: {fact: disk}}", "[{retract: $d}, {alert: '{c.name}'}]"),
    ],
)
def test_right_rules_pass(when: str, then: str) -> None:
    """Nothing is found in a rule that can fire and says what it means."""
    checked = check_texts([("rules.yaml", rule(when, then))])
    assert render_text(checked.findings) == ""


@pytest.mark.parametrize(
    ("when", "then", "names"),
    [
        ("{p: {fact: process_files, open|gte: 6, open|lte: 5}}", "[{alert: '{p.open}'}]", ["unreachable-rule"]),
        ("{d: {fact: disk, used_ratio|gt: 0.5, used_ratio|lte: 0.5}}", "[{alert: '{d.path}'}]", ["unreachable-rule"]),
        ("{d: {fact: disk, used_ratio: 0.5, used_ratio|gt: 0.6}}", "[{alert: '{d.path}'}]", ["unreachable-rule"]),
        ("{c: {fact: container, oom_killed|ne: [true, false]}}", C, ["unreachable-rule"]),
        ("{c: {fact: container, status: dead, status|contains: run}}", C, ["unreachable-rule"]),
        (
            "{c: {fact: container, status: dead}, d: {fact: container, status: $c.status, status|ne: dead}}",
            CD,
            ["unreachable-rule"],
        ),
        ("{c: {fact: container}, d: {fact: container, id: $c.id}}", CD, ["unreachable-rule"]),
        ("{c: {fact: container, id: $d.id}, d: {fact: container}}", CD, ["unreachable-rule"]),
        (
            "{n: {count: {fact: container, status: dead}, by: [id], within: 1h, at_least: 2}}",
            "[{alert: x}]",
            ["unreachable-rule"],
        ),
    ],
)
def test_rules_that_never_fire_are_found(when: str, then: str, names: list[str]) -> None:
    """A contradiction is found wherever it comes from: bounds, choices, joins, or a state that there is one of."""
    assert found(rule(when, then)) == names


@pytest.mark.parametrize(
    ("unless", "names"),
    [
        ("{fact: container}", ["always-held"]),
        ("{fact: container, id: $c.id}", ["always-held"]),
        ("{fact: container, status: [dead, removing]}", ["always-held"]),
        ("{fact: container, image: $c.image, status|ne: running}", ["always-held"]),
        ("{fact: container, id: $c.id, status: running}", []),
        ("{fact: container, image: $c.image, status: running}", []),
        ("{fact: container, error|exists: true}", []),
        ("{fact: container, id: $c.name}", []),
        ("{fact: disk, used_ratio|gt: 0.9}", []),
    ],
)
def test_unless_that_always_holds(unless: str, names: list[str]) -> None:
    """A pattern of `unless` that the matched fact itself passes is found; one that it need not pass is not."""
    data = rule("{c: {fact: container, status: dead}}", C, more=f"    unless: [{unless}]\n")
    assert found(data) == names


def rules(*pairs: tuple[str, str]) -> bytes:
    """Several rules in one file."""
    head, *others = (rule(when, then, ident=f"rule-{n}") for n, (when, then) in enumerate(pairs))
    return head + b"".join(data.removeprefix(b"rules:\n") for data in others)


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        # literals that end a chain
        (
            [
                ("{a: {fact: x, n: 1}}", "[{assert: {fact: x, n: 2}}]"),
                ("{c: {fact: container}}", "[{assert: {fact: x, n: 1}}]"),
            ],
            [],
        ),
        (
            [
                ("{c: {fact: container}}", "[{assert: {fact: x, n: 1}}]"),
                ("{a: {fact: x, n: 1}}", "[{assert: {fact: y, n: 2}}]"),
                ("{a: {fact: y, n: 2}}", "[{assert: {fact: x, n: 3}}]"),
            ],
            [],
        ),
        # a value carried through a reference is followed
        (
            [
                ("{c: {fact: container}}", "[{assert: {fact: x, n: 1}}]"),
                ("{a: {fact: x, n: 1}}", "[{assert: {fact: y, n: $a.n}}]"),
                ("{a: {fact: y, n: 1}}", "[{assert: {fact: x, n: $a.n}}]"),
            ],
            ["endless-chain"],
        ),
        # through a count
        (
            [
                (
                    "{a: {count: {fact: x}, within: 1h, at_least: 1}}",
                    "[{assert: {fact: x, n: $a.count}}]",
                )
            ],
            ["endless-chain"],
        ),
        # outcomes of another action, or of another rule's
        (
            [
                (
                    "{r: {fact: action_result, action: remove_container, ok: false}}",
                    "[{do: inspect_mounts, container: $r.container_id}]",
                ),
                ("{r: {fact: action_result, action: unmount, ok: true}}", "[{do: retry_now, container: $r.container_id}]"),
            ],
            [],
        ),
        (
            [
                ("{r: {fact: action_result, action: unmount}}", "[{do: retry_now, container: $r.container_id}]"),
                ("{r: {fact: action_result, action: retry_now}}", "[{do: prune_images}]"),
                (
                    "{r: {fact: action_result, action: prune_images}}",
                    "[{do: unmount, container: $r.container_id, holder: x, path: /y}]",
                ),
            ],
            ["endless-chain"],
        ),
        # an alert about other alerts that leaves itself out
        ([("{a: {fact: alert, rule|ne: rule-0, status: firing}}", "[{alert: '{a.rule}'}]")], []),
        ([("{a: {fact: alert, severity: critical}}", "[{alert: '{a.rule}'}]")], []),
        # retracting what one waits for, and what one misses
        ([("{c: {fact: container}}", "[{assert: {fact: x}}]"), ("{a: {fact: x}}", "[{retract: $a}]")], []),
        ([("{m: {missing: {fact: x}, for: 1m}, a: {fact: x, n: 1}}", "[{retract: $a}, {assert: {fact: y}}, {alert: '{a.n}'}]"),
          ("{c: {fact: container}}", "[{assert: {fact: x, n: 1}}]")], ["endless-chain"]),
    ],
)  # fmt: skip
def test_chains(pairs: list[tuple[str, str]], names: list[str]) -> None:
    """A chain that leads back is found through references, counts, outcomes and missing facts; one that literals end is not."""
    assert found(rules(*pairs)) == names


@pytest.mark.parametrize(
    ("when", "then", "refused"),
    [
        ("{c: {fact: container, status: running}}", "[{do: remove_container, container: $c.id}]", True),
        ("{c: {fact: container, status: [running, exited]}}", "[{do: remove_container, container: $c.id}]", False),
        ("{c: {fact: container}}", "[{do: remove_container, container: $c.id}]", False),
        ("{c: {fact: container, status: running}}", "[{do: restart_container, container: $c.id}]", False),
        ("{c: {fact: container, protected: true}}", "[{do: restart_container, container: $c.id}]", True),
        ("{c: {fact: container, protected: true}}", "[{do: inspect_mounts, container: $c.id}]", False),
        (
            "{c: {fact: container, status: paused}, l: {fact: mount_leak, owner_id: $c.id}}",
            "[{do: unmount, container: $l.owner_id, holder: $l.holder_id, path: $l.path}]",
            True,
        ),
        (
            "{c: {fact: container, status: running}, l: {fact: mount_leak, holder_id: $c.id}}",
            "[{do: unmount, container: $l.owner_id, holder: $l.holder_id, path: $l.path}]",
            False,
        ),
    ],
)
def test_what_guardrails_always_refuse(when: str, then: str, *, refused: bool) -> None:
    """Only what the patterns require is judged, also through a join; what may be safe is left to the guardrails."""
    assert found(rule(when, then)) == (["refused-action"] if refused else [])


@pytest.mark.parametrize(
    ("names", "count"),
    [(["wide-join"], 2), (["exploding-join"], 3), (["exploding-join"], 5)],
)
def test_unjoined_events(names: list[str], count: int) -> None:
    """Two unjoined patterns over events are a warning, more are an error, however many."""
    patterns = ", ".join(f"e{n}: {{fact: container_event, action: a{n}}}" for n in range(count))
    text = " ".join(f"{{e{n}.name}}" for n in range(count))
    assert found(rule(f"{{{patterns}}}", f"[{{alert: '{text}'}}]")) == names


def test_joins_through_a_third_pattern() -> None:
    """Events that are each joined with one container are joined with each other."""
    when = "{a: {fact: container_event, id: $c.id}, c: {fact: container}, b: {fact: container_event, id: $c.id}}"
    assert found(rule(when, "[{alert: '{a.action} {b.action}'}]")) == []


def test_one_field_against_several_others() -> None:
    """A list of references is any of them."""
    when = "{a: {fact: mount_leak}, c: {fact: container, id: [$a.owner_id, $a.holder_id]}}"
    assert found(rule(when, "[{alert: '{c.name}'}]")) == []


def test_declared_kinds_may_come_from_outside() -> None:
    """What `facts:` declares needs no rule that asserts it, and asserted literals do not narrow it."""
    head = b"facts: {mark: {fields: {stage: string}}}\n"
    assert found(head + rule("{m: {fact: mark, stage: second}}", "[{alert: '{m.stage}'}]")) == []
    assert found(head + rule("{m: {fact: mark, stage|gt: 5}}", "[{alert: '{m.stage}'}]")) == ["unfit-modifier"]


def test_when_no_rule_asserts_all_that_a_pattern_wants() -> None:
    """Two assertions that each pass one of two tests make nothing that passes both."""
    data = rules(
        ("{c: {fact: container}}", "[{assert: {fact: x, a: 1, b: 1}}, {assert: {fact: x, a: 2, b: 2}}]"),
        ("{x: {fact: x, a: 1, b: 2}}", "[{alert: '{x.a}'}]"),
    )
    assert found(data) == ["unreachable-rule"]
