"""YAML into trees with places."""

import pytest

from engine.rules.findings import Report
from engine.rules.yamltree import MAX_BYTES, ListNode, MapNode, Node, ScalarNode, parse_yaml, resolve


def read(text: str) -> tuple[Node | None, Report]:
    """The tree of a text, and what was found."""
    report = Report()
    return parse_yaml(text.encode(), "f", report), report


def messages(text: str) -> list[str]:
    """The findings of a text."""
    return [finding.message for finding in read(text)[1].findings]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
        ("yes", "yes"), ("on", "on"), ("n", "n"), ("1:30", "1:30"), ("2026-11-20", "2026-11-20"),
        ("0", 0), ("-7", -7), ("+7", 7), ("010", 10), ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), (".inf", ".inf"), (".nan", ".nan"), ("1e999", "1e999"),
        ("9" * 40, "9" * 40), ("1.2.3", "1.2.3"), ("v1", "v1"), ("-", "-"), (".", "."),
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: object) -> None:
    """Unquoted values mean what YAML 1.2's core schema says, and `yes` is a text."""
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quotes_make_texts() -> None:
    """A quoted number, or one in a block, is a text."""
    tree, _ = read("a: '5'\nb: \"true\"\nc: |\n  7\n")
    assert isinstance(tree, MapNode)
    assert [value.value for _, value in tree.entries if isinstance(value, ScalarNode)] == ["5", "true", "7\n"]


def test_places() -> None:
    """Lines and columns count from one, in characters, and lengths reach to the end of a value."""
    tree, _ = read("\ufeffé: [x, 'ö ö']\nmap:\n  key: value\n")
    assert isinstance(tree, MapNode)
    listing = tree.get("é")
    assert isinstance(listing, ListNode)
    assert [(item.span.line, item.span.column, item.span.length) for item in listing.items] == [(1, 5, 1), (1, 8, 5)]
    inner = tree.get("map")
    assert isinstance(inner, MapNode)
    assert (inner.span.line, inner.span.column) == (3, 3)
    assert inner.entries[0][1].span.column == 8


def test_aliases_are_followed() -> None:
    """An alias is what its anchor names."""
    tree, report = read("a: &x {b: 1}\nc: *x\n")
    assert isinstance(tree, MapNode)
    assert tree.get("c") is tree.get("a")
    assert not report.findings


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: *b", "names no anchor"),
        ("a: &a [*a]", "names no anchor, or one that holds it"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: !!int 5", "the tag `!!int`"),
        ("a: !mine {b: 1}", "the tag `!mine`"),
        ("a: 1\na: 2", "stands already at line 1"),
        ("{[a]: 1}", "a key is a text"),
        ("[" * 100_000, "nested more than 32 deep"),
        ("- " * 100_000, "nested more than 32 deep"),
        ("a: [1", "did not find expected"),
        ("a: \x07", "control character U+0007"),
        ("%YAML 3.0\n---\na: 1", "YAML"),
    ],
)
def test_faults(text: str, part: str) -> None:
    """Each fault of a file is one finding that says what it is."""
    found = messages(text)
    assert len(found) == 1
    assert part in found[0]


def test_alias_bomb_is_stopped_early() -> None:
    """A file of a few hundred bytes that stands for ten to the ninth values is refused."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for above, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{above}'] * 10)}]\n"
    assert "aliases counted each time" in messages(bomb)[0]


def test_large_and_broken_files() -> None:
    """More than a mebibyte, and bytes that are no UTF-8, are refused with the place of the first fault."""
    report = Report()
    assert parse_yaml(b"#" * (MAX_BYTES + 1), "f", report) is None
    assert parse_yaml(b"a: 1\nb: \xff\n", "g", report) is None
    large, broken = report.findings
    assert str(MAX_BYTES) in large.expected
    assert (broken.position.line, broken.position.column) == (2, 4)


def test_empty_files_are_nothing() -> None:
    """A file without a value has no tree and no fault."""
    for text in ("", "# comment\n", "---\n...\n"):
        tree, report = read(text)
        assert not report.findings
        assert tree is None or (isinstance(tree, ScalarNode) and tree.value is None)


def test_mappings_are_bounded() -> None:
    """A mapping with more keys than the language has is cut off, with one finding, so that no file takes minutes."""
    tree, report = read("\n".join(f"k{n}: 1" for n in range(5_000)))
    assert isinstance(tree, MapNode)
    assert len(tree.entries) == 200
    assert [finding.message for finding in report.findings] == ["a mapping has more than 200 keys"]
