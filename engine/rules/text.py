"""References and templates: `$name.field`, `{name.field}`, `{name.field:.0%}`. Pure; knows no rule and no kind of fact."""

import re
from dataclasses import dataclass

from engine.rules.model import FieldPath, Placeholder, Ref, Template

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
BINDING = re.compile(_NAME)
_REF = re.compile(rf"\$({_NAME})\.(\S+)")
_WHOLE_REF = re.compile(rf"\$({_NAME})")
_PLACEHOLDER = re.compile(rf"({_NAME})\.([^\s:{{}}]+)")


@dataclass(frozen=True, slots=True)
class TextFault:
    """What is wrong with a reference or template, and the part of the text it is about."""

    part: str
    message: str


class BadTextError(ValueError):
    """A reference or template cannot be read; `faults` names every part that is wrong."""

    def __init__(self, faults: tuple[TextFault, ...]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def split_path(text: str) -> FieldPath:
    """`labels.com.example.role` is the key `com.example.role` in the map `labels`."""
    head, dot, rest = text.partition(".")
    return (head, rest) if dot else (head,)


def join_path(path: FieldPath) -> str:
    """As it is written."""
    return ".".join(path)


def parse_value(text: str) -> str | Ref:
    """A text in a pattern: a reference, or a literal (`$$` at its start stands for one dollar).

    Raises:
        BadTextError: it starts with a dollar and is no reference.
    """
    if not text.startswith("$"):
        return text
    if text.startswith("$$"):
        return text[1:]
    found = _REF.fullmatch(text)
    if found is None:
        raise BadTextError((TextFault(text, f"invalid reference `{text}`: write $name.field, or $$ for a literal dollar"),))
    return Ref(found[1], split_path(found[2]))


def parse_binding(text: str) -> str | None:
    """The name in `$name`, None when the text is something else."""
    found = _WHOLE_REF.fullmatch(text)
    return found[1] if found else None


def parse_template(text: str) -> Template:
    """A text with placeholders; `{{` and `}}` stand for the braces themselves. Neighbouring literals are one part.

    Raises:
        BadTextError: braces do not pair, or a placeholder is none; every fault is in it.
    """
    parts: list[str | Placeholder] = []
    faults: list[TextFault] = []
    literal = ""
    at = 0
    while at < len(text):
        character = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            literal += character
            at += 2
        elif character == "{":
            close = text.find("}", at)
            if close < 0:
                faults.append(TextFault(text[at:], "`{` is never closed; write {{ for a brace"))
                break
            if literal:
                parts.append(literal)
                literal = ""
            _take_placeholder(text[at : close + 1], parts, faults)
            at = close + 1
        elif character == "}":
            faults.append(TextFault("}", "`}` without `{`; write }} for a brace"))
            at += 1
        else:
            literal += character
            at += 1
    if faults:
        raise BadTextError(tuple(faults))
    if literal:
        parts.append(literal)
    return Template(tuple(parts))


def _take_placeholder(part: str, parts: list[str | Placeholder], faults: list[TextFault]) -> None:
    inside, _, form = part[1:-1].partition(":")
    found = _PLACEHOLDER.fullmatch(inside)
    if found is None:
        faults.append(TextFault(part, f"invalid placeholder `{part}`: write {{name.field}}, or {{{{ for a brace"))
    else:
        parts.append(Placeholder(Ref(found[1], split_path(found[2])), form))
