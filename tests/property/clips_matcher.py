"""CLIPS as a second opinion on joins and on `unless`: rules of fact patterns, translated to its language.

Knows nothing of counts, `missing`, `for`, asserts or alerts: rulesets with those are not for it. Facts are never handled as
Python objects here: clipspy 1.0.6 calls ReleaseFact with one argument too many when one is collected, and so leaks it.
"""

import re
from collections.abc import Iterable

import clips

from engine.facts import Fact, Retraction
from engine.facts.timestamps import SECOND, Micros
from engine.rules.model import Condition, FactPattern, FieldPath, Ref, Rule, RuleSet, Scalar
from tests.property.meaning import kind_of, value_of

_SLOTS = ("id", "image", "status", "action", "role", "exit_code")
"""`role` is what the dotted field of labels says."""

Fired = tuple[str, tuple[str, ...]]
"""A rule, and for each of its patterns which version of which fact it bound."""

_FUNCTIONS = """
(deftemplate item (slot kind) (slot name) {slots})
(deffunction dw-tell (?kind ?name {args}) (assert (item (kind ?kind) (name ?name) {fill})) TRUE)
(deffunction dw-untell (?name) (do-for-all-facts ((?f item)) (eq ?f:name ?name) (retract ?f)) TRUE)
(deffunction dw-is (?a ?b) (and (neq ?a nil) (eq ?a ?b)))
(deffunction dw-holds (?a ?b) (and (stringp ?a) (stringp ?b) (neq (str-index ?b ?a) FALSE)))
(deffunction dw-begins (?a ?b) (and (stringp ?a) (stringp ?b) (eq (str-index ?b ?a) 1)))
(deffunction dw-ends (?a ?b)
  (and (stringp ?a) (stringp ?b) (>= (str-length ?a) (str-length ?b))
       (eq ?b (sub-string (+ 1 (- (str-length ?a) (str-length ?b))) (str-length ?a) ?a))))
(deffunction dw-more (?a ?b) (and (numberp ?a) (numberp ?b) (> ?a ?b)))
"""

_CALLS = {
    "eq": "(dw-is {a} {b})",
    "contains": "(dw-holds {a} {b})",
    "startswith": "(dw-begins {a} {b})",
    "endswith": "(dw-ends {a} {b})",
    "re": "(re-finds {a} {b})",
    "gt": "(dw-more {a} {b})",
    "lt": "(dw-more {b} {a})",
    "gte": "(or (dw-more {a} {b}) (dw-is {a} {b}))",
    "lte": "(or (dw-more {b} {a}) (dw-is {a} {b}))",
}


class Clips:
    """Facts in, in the order of time; out comes which rules fired for which facts for the first time."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._env = clips.Environment()
        self._env.define_function(self._fire, name="fire")
        self._env.define_function(_matches, name="re-finds")
        slots = " ".join(f"(slot {slot})" for slot in _SLOTS)
        args = " ".join(f"?{slot}" for slot in _SLOTS)
        fill = " ".join(f"({slot} ?{slot})" for slot in _SLOTS)
        for construct in _FUNCTIONS.format(slots=slots, args=args, fill=fill).strip().split("\n(def"):
            self._env.build(construct if construct.startswith("(def") else "(def" + construct)
        for rule in ruleset.rules:
            self._env.build(defrule(rule))
        self._known: dict[tuple[str, ...], tuple[str, tuple[object, ...], Micros | None]] = {}
        self._versions: dict[str, str] = {}
        self._fired: set[Fired] = set()
        self._new: set[Fired] = set()

    def step(self, item: Fact | Retraction) -> set[Fired]:
        """What fires for the first time until this moment and with this item."""
        self.advance(item.at_micros, keep=True)
        if isinstance(item, Retraction):
            self._forget((item.retract, item.key))
        else:
            self._tell(item)
        self._env.run()
        return self._told()

    def advance(self, now: Micros, *, keep: bool = False) -> set[Fired]:
        """What fires for the first time because facts expire until then."""
        for moment in sorted({expires for _, _, expires in self._known.values() if expires is not None and expires <= now}):
            for identity, (_, _, expires) in list(self._known.items()):
                if expires == moment:
                    self._forget(identity)
            self._env.run()
        return set() if keep else self._told()

    def version_of(self, fact_id: str) -> str:
        """Which version of which fact an observation is: one that says nothing new is the version before it."""
        return self._versions[fact_id]

    def _tell(self, fact: Fact) -> None:
        paths: list[FieldPath] = [("labels", "com.example.role") if slot == "role" else (slot,) for slot in _SLOTS]
        values = tuple(value_of(fact, path) for path in paths)
        life = fact.lifetime_s
        expires = None if life is None else fact.at_micros + round(life * SECOND)
        name, before, _ = self._known.get(fact.identity, (fact.fact_id, None, None))
        self._versions[fact.fact_id] = name if before == values else fact.fact_id
        if before != values:
            self._forget(fact.identity)
            name = fact.fact_id
            self._env.eval(f"(dw-tell {kind_of(fact)} {' '.join(literal(value) for value in (name, *values))})")
        self._known[fact.identity] = (name, values, expires)

    def _forget(self, identity: tuple[str, ...]) -> None:
        if identity in self._known:
            self._env.eval(f"(dw-untell {literal(self._known.pop(identity)[0])})")

    def _fire(self, rule: object, *names: object) -> None:
        fired = (str(rule), tuple(str(name) for name in names))
        if fired not in self._fired:  # CLIPS fires again when a `not` comes and goes; once per set of facts is enough here
            self._new.add(fired)
            self._fired.add(fired)

    def _told(self) -> set[Fired]:
        told, self._new = self._new, set()
        return told


def _matches(value: object, wanted: str) -> bool:
    """A regular expression anywhere in a text; `nil` comes as a symbol, which clipspy makes a subclass of str."""
    return type(value) is str and re.search(wanted, value) is not None


def literal(value: object) -> str:
    """A value in the language of CLIPS; nil for what is not there."""
    if value is None:
        return "nil"
    return f'"{value}"' if isinstance(value, str) else str(value)


def defrule(rule: Rule) -> str:
    """The rule in the language of CLIPS: patterns with inline tests, pairwise different facts, `not` for `unless`."""
    names = [pattern.name for pattern in rule.when]
    when = [_pattern(pattern) for pattern in rule.when if isinstance(pattern, FactPattern)]
    differ = [f"(test (neq ?{one}-name ?{other}-name))" for n, one in enumerate(names) for other in names[n + 1 :]]
    unless = [f"(not {_pattern(pattern)})" for pattern in rule.unless if isinstance(pattern, FactPattern)]
    facts = " ".join(f"?{name}-name" for name in names)
    return f"(defrule {rule.id} {' '.join((*when, *differ, *unless))} => (fire {rule.id} {facts}))"


def _pattern(pattern: FactPattern) -> str:
    slots = [f"({slot} ?{pattern.name}-{slot})" for slot in _SLOTS[:-1]]
    tests = " ".join(_test(pattern.name, test) for test in pattern.tests)
    last = f"({_SLOTS[-1]} ?{pattern.name}-{_SLOTS[-1]}&:(and TRUE TRUE {tests}))"
    return f"(item (kind {pattern.kind}) (name ?{pattern.name}-name) {' '.join((*slots, last))})"


def _test(binding: str, test: Condition) -> str:
    mine = _variable(Ref(binding, test.path))
    if test.op == "exists":
        return f"(or FALSE {_any(f'(eq (neq {mine} nil) {str(value).upper()})' for value in test.values)})"
    call = _CALLS["eq" if test.op == "ne" else test.op]
    any_of = _any(call.format(a=mine, b=_wanted(value)) for value in test.values)
    return f"(not {any_of})" if test.op == "ne" else any_of


def _any(calls: Iterable[str]) -> str:
    return f"(or FALSE {' '.join(calls)})"


def _wanted(value: Scalar | Ref) -> str:
    return _variable(value) if isinstance(value, Ref) else literal(value)


def _variable(ref: Ref) -> str:
    return f"?{ref.binding}-{'role' if len(ref.path) > 1 else ref.path[0]}"
