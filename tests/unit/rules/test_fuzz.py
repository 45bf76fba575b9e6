"""Whatever the bytes in a rules file, the check ends with findings or with rules, and both can be shown."""

import json
import random

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.rules.reader import check_texts, render_json, render_text
from tests.unit.rules.good import GOOD
from tests.unit.rules.test_golden import CASES

SEEDS = [*GOOD.values(), *((case / "rules.yaml").read_bytes() for case in CASES if case.name != "hostile")]


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


# Pieces that mean something somewhere in a rules file, so that mutations get past the first check.
PIECES = [
    *(f"{key}: ".encode() for key in words("rules when then unless count missing fact by within assert retract facts fields")),
    *(word.encode() for word in words("container container_event alert status labels.x $c.id $c $$ {c.id} { } [ ] {{ }} :.1f}")),
    *(word.encode() for word in words("remove_container do: true null 10m 5/s -1 1e999 |ne |re |exists")),
    *[b": ", b", ", b"- ", b"&a ", b"*a", b"!!str ", b"'", b'"', b"\n", b"\t", b"---\n", b"<<: ", b"? ", b"# ", b"|\n", b">-\n"],
    *[b"- rule: ", b"\x00", b"\xff", b"\xed\xa0\x80", b"\x85", b"9" * 5_000, "\u202e".encode(), "\u2028".encode()],
]


def check(data: bytes) -> None:
    """Check bytes; show what was found in both forms."""
    checked = check_texts([("rules.yaml", data)])
    text = render_text(checked.findings)
    body = json.loads(render_json(checked.findings))
    assert checked.ok == (body["errors"] == 0)
    assert all(character.isprintable() or character == "\n" for character in text)
    for finding in body["findings"]:
        assert finding["line"] >= 1
        assert finding["column"] >= 1


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    """Random bytes never raise."""
    check(data)


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_pieces(pieces: list[bytes]) -> None:
    """Pieces of the language in any order never raise."""
    check(b"".join(pieces))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=6))
def test_mutated_files(seed: bytes, number: int, times: int) -> None:
    """Right and faulty files with bytes cut, doubled, swapped or replaced by pieces of the language never raise."""
    chance = random.Random(number)
    data = seed
    for _ in range(times):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.randrange(1, 30))
        piece = chance.choice([b"", data[start:end] * 2, data[start:end][::-1], chance.choice(PIECES), chance.choice(PIECES)])
        data = data[:start] + piece + data[end:]
    check(data)


WORDS = st.sampled_from(words("container dead $c.id $c {c.id} {c.id:d} 10m 5/s trouble remove_container error"))
KEYS = st.sampled_from(
    words(
        "fact count missing by within at_least for id status status|ne exit_code|gt labels.x c d alert do assert retract"
        " container rate retry first ttl"
    )
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(KEYS, st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=12,
)
RULE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("rule", "title", "severity", "when", "unless", "for", "key", "then", "priority", "resolve_after", "next", "x"), VALUES
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RULE, max_size=4), VALUES)
def test_any_structure(rules: list[object], facts: object) -> None:
    """Well-formed YAML of the wrong shape at any place never raises."""
    check(yaml.safe_dump({"rules": rules, "facts": facts}, allow_unicode=True).encode("utf-8", "replace"))
