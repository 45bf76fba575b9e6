"""Every check of a rules folder: its id, what it finds, why that matters, and how to fix it. Data; checks nothing itself.

`docs/checks.md` is printed from it (`scripts/check-docs`). Ids are never reused: people search for them.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One check. An error keeps a folder from being used, a warning does not."""

    id: str
    name: str
    what: str
    why: str
    fix: str
    severity: Literal["error", "warning"] = "error"


CATALOGUE: dict[str, Check] = {}
"""By id, in the order of the ids."""


def _check(ident: str, name: str, what: str, why: str, fix: str, severity: Literal["error", "warning"] = "error") -> Check:
    check = Check(ident, name, what, why, fix, severity)
    CATALOGUE[ident] = check
    return check


# Files
UNREADABLE = _check(
    "DW001", "unreadable-file",
    "A rules file cannot be read, is larger than 1 MiB, is not UTF-8, or holds control characters.",
    "What cannot be read cannot be checked, and half a folder of rules is not what anybody meant.",
    "Save it as UTF-8 text, readable by the user that dockwarden runs as.",
)  # fmt: skip
YAML_FAULT = _check(
    "DW002", "yaml-fault",
    "A file is not valid YAML, has several documents or tags, or goes beyond the bounds of nesting and aliases.",
    "Everything after the fault would be guesswork.",
    "Fix the marked place; often it is an unclosed quote or bracket, or indentation by tabs.",
)  # fmt: skip
DUPLICATE_KEY = _check(
    "DW003", "duplicate-key",
    "A mapping has one key twice.",
    "YAML readers differ on which of the two counts; one of them would be ignored in silence.",
    "Remove one; several values for one field are a list.",
)  # fmt: skip
TOO_MANY = _check(
    "DW004", "too-many-findings",
    "There are more findings than are shown.",
    "A list without end helps nobody.",
    "Fix what is shown and check again.",
)  # fmt: skip
NO_RULES = _check(
    "DW005", "no-rules",
    "A folder or file holds no rule.",
    "Nothing would be watched, and nobody would be alerted.",
    "Name the folder that holds the rules; a rules file has a list under `rules:`.",
    "warning",
)  # fmt: skip

# Shape
UNKNOWN_KEY = _check(
    "DW101", "unknown-key",
    "A key means nothing where it stands.",
    "A misspelt key would be ignored in silence, and with it what it was to do.",
    "Use one of the keys that are listed.",
)  # fmt: skip
MISSING_KEY = _check(
    "DW102", "missing-key",
    "A key that has to be there is missing.",
    "Without it the rule has no meaning.",
    "Add it.",
)  # fmt: skip
WRONG_SHAPE = _check(
    "DW103", "wrong-shape",
    "A text stands where a mapping or list is wanted, or the other way round, or a number or truth value where a text is.",
    "The rule would mean something else than it says.",
    "Write what is expected; a text that looks like a number needs quotes.",
)  # fmt: skip
BAD_DURATION = _check(
    "DW104", "bad-duration",
    "A duration is not one.",
    "A bare number would leave open whether it counts seconds or minutes.",
    "Write a number with a unit: 500ms, 30s, 10m, 1h30m, 2d.",
)  # fmt: skip
BAD_RATE = _check(
    "DW105", "bad-rate",
    "A rate is not one.",
    "A rate keeps an action from hammering Docker; a guess would not.",
    "Write a number per time: 5/s, 100/h, 2/10s.",
)  # fmt: skip
BAD_NAME = _check(
    "DW106", "bad-name",
    "The name of a rule, pattern, fact kind or field has characters that it must not have.",
    "Names become MQTT topics and parts of references.",
    "Rules are kebab-case (`container-storm`); patterns, kinds and fields are words with underscores (`mount_leak`).",
)  # fmt: skip
BAD_TEMPLATE = _check(
    "DW107", "bad-template",
    "The braces of a text do not pair, or hold something else than `name.field`.",
    "The alert would show the braces instead of the fact.",
    "Write {name.field} or {name.field:.1f}; {{ and }} stand for braces.",
)  # fmt: skip
BAD_REFERENCE = _check(
    "DW108", "bad-reference",
    "A text begins with a dollar and is not a reference.",
    "It would be compared as a text, and never match.",
    "Write $name.field; $$ stands for a dollar.",
)  # fmt: skip
OUT_OF_RANGE = _check(
    "DW109", "out-of-range",
    "A number is too small or too large for what it sets.",
    "A count of none is always reached; a factor below one makes retries come ever faster.",
    "Choose a value within the range that is named.",
)  # fmt: skip
UNKNOWN_CHOICE = _check(
    "DW110", "unknown-choice",
    "A setting with a few possible values, such as `severity`, has another one.",
    "Those who listen route alerts by it.",
    "Use one of the values that are listed.",
)  # fmt: skip
DUPLICATE_RULE = _check(
    "DW111", "duplicate-rule",
    "Two rules have the same id.",
    "Alerts, journal and overrides identify rules by their id.",
    "Rename one; an id that was once in use is not given to another rule.",
)  # fmt: skip
NO_SEVERITY = _check(
    "DW112", "no-severity",
    "A rule raises an alert and has no severity.",
    "Whoever is on call is woken, or not, by the severity.",
    "Add `severity:` info, warning, error or critical.",
)  # fmt: skip
NO_TITLE = _check(
    "DW113", "no-title",
    "A rule has no title.",
    "The title is what lists of rules and alerts show.",
    "Add `title:` with what is wrong, in a few words.",
    "warning",
)  # fmt: skip
EMPTY = _check(
    "DW114", "empty",
    "A list or mapping that has to hold something is empty.",
    "A rule without patterns never fires, one without effects does nothing, an empty list of values matches nothing.",
    "Fill it, or remove the rule.",
)  # fmt: skip
LITERAL_REFERENCE = _check(
    "DW115", "literal-reference",
    "A text has the form of a reference in another notation: `key: $c.id`, `container: c.id`, `${c.id}`, `{{ c.name }}`, or"
    " `$c.name` inside a text.",
    "It would be printed or compared as it stands: all alerts of the rule would have one key, and an action no target.",
    "In texts write {name.field}; as a whole value write $name.field.",
)  # fmt: skip
NO_KEY = _check(
    "DW116", "no-key",
    "A rule about one of many things (a container, a disk, a process) raises an alert and has no `key`.",
    "All of them would be one alert: the second one that fails is not notified, and the first that recovers hides it.",
    'Add a `key` that identifies the thing, such as `key: "{c.id}"`.',
    "warning",
)  # fmt: skip
MISSING_RUNBOOK = _check(
    "DW117", "missing-runbook",
    "`runbook` names a file that is not in the folder.",
    "Whoever is paged opens the link first.",
    "Write the runbook, or correct its path; it counts from the top of the folder of rules.",
    "warning",
)  # fmt: skip

# Names
UNKNOWN_KIND = _check(
    "DW201", "unknown-kind",
    "A pattern or effect names a fact kind that nothing makes: not built in, asserted by no rule, declared by no `facts:`.",
    "The rule would wait for ever.",
    "Use one of the kinds that are listed, or declare it under `facts:`.",
)  # fmt: skip
UNKNOWN_FIELD = _check(
    "DW202", "unknown-field",
    "A fact kind has no such field, or a dotted path reaches into a field that is not a map.",
    "The test would never hold, or the text would show nothing.",
    "Use one of the fields that are listed.",
)  # fmt: skip
UNKNOWN_MODIFIER = _check(
    "DW203", "unknown-modifier",
    "An unknown modifier stands behind `|`, or there are two.",
    "The field would be compared in another way than was meant.",
    "Use one of ne, gt, gte, lt, lte, contains, startswith, endswith, re, exists; none means equal.",
)  # fmt: skip
UNKNOWN_BINDING = _check(
    "DW204", "unknown-binding",
    "A reference or placeholder names a pattern that the rule does not have.",
    "There is nothing to compare with or to show.",
    "Use the name of a pattern under `when`; patterns under `unless` bind no name.",
)  # fmt: skip
UNKNOWN_ACTION = _check(
    "DW205", "unknown-action",
    "`do:` names an action that does not exist.",
    "The remedy would never run.",
    "Use one of the actions that are listed.",
)  # fmt: skip
UNKNOWN_PARAMETER = _check(
    "DW206", "unknown-parameter",
    "An action has no such parameter.",
    "A misspelt parameter would be ignored in silence.",
    "Use one of the parameters that are listed.",
)  # fmt: skip
MISSING_PARAMETER = _check(
    "DW207", "missing-parameter",
    "An action lacks a parameter that it needs, or an asserted fact a field that its kind needs.",
    "It would fail each time.",
    "Add it.",
)  # fmt: skip
UNKNOWN_ALERT = _check(
    "DW208", "unknown-alert",
    "A pattern waits for the alert of a rule that is not in this folder or raises none.",
    "Unless it comes from elsewhere, the pattern never matches.",
    "Use the id of a rule that raises an alert.",
    "warning",
)  # fmt: skip

# Types
WRONG_TYPE = _check(
    "DW301", "wrong-type",
    "A value is of another type than the field or parameter it stands for.",
    "'1' and 1 are never equal: the test would never hold.",
    "Write a value of the expected type: quotes make a text, none a number or a truth value.",
)  # fmt: skip
UNLIKE_TYPES = _check(
    "DW302", "unlike-types",
    "Two fields are compared whose types differ.",
    "The join would never match.",
    "Compare fields of one type.",
)  # fmt: skip
UNFIT_MODIFIER = _check(
    "DW303", "unfit-modifier",
    "A modifier does not go with the type of its field: order on texts, parts of texts on numbers.",
    "It would never hold, or hold by chance.",
    "Use a modifier that goes with the type.",
)  # fmt: skip
BAD_REGEX = _check(
    "DW304", "bad-regex",
    "A regular expression is not one that RE2 takes.",
    "RE2 is linear in the text, so that no line can stall the sidecar; it has no back-references and no look-around.",
    "Fix the expression: https://github.com/google/re2/wiki/Syntax.",
)  # fmt: skip
BAD_FORMAT = _check(
    "DW305", "bad-format",
    "The format behind the colon of a placeholder does not go with the type of its field.",
    "The text could not be made.",
    "Numbers take .1f, .0% or a comma, and seconds `duration`; texts take none.",
)  # fmt: skip
UNKNOWN_VALUE = _check(
    "DW306", "unknown-value",
    "A field that has a few possible values is compared with another one.",
    "The test would never hold.",
    "Use one of the values that are listed.",
)  # fmt: skip
UNFIT_REFERENCE = _check(
    "DW307", "unfit-reference",
    "A reference stands where it cannot be followed: to its own pattern, to a `missing` pattern, or beside anything but equality"
    " in a `count` or `missing` pattern.",
    "There is no fact to take the value from at that moment.",
    "Refer to a field of another fact or count pattern.",
)  # fmt: skip
UNLIKE_DECLARATIONS = _check(
    "DW308", "unlike-declarations",
    "A field of a declared fact kind gets values of different types.",
    "Rules that depend on it could not be typed.",
    "Give the field one type everywhere.",
)  # fmt: skip
GLOB_IN_EQUALITY = _check(
    "DW309", "glob-in-equality",
    "A value that is compared as it stands has `*`, `?` or `[…]` in it.",
    "There are no wildcards in values: only a text with these very characters would match.",
    'Use startswith, endswith, contains or re: `image|startswith: "redis:"`.',
    "warning",
)  # fmt: skip
RATIO_OUT_OF_RANGE = _check(
    "DW310", "ratio-out-of-range",
    "A ratio is compared with a number outside 0 to 1.",
    "Ratios are shares of 1: a threshold of 90 is never reached.",
    "Write 0.9 for 90 %.",
)  # fmt: skip
NO_CONTAINER_ID = _check(
    "DW311", "no-container-id",
    "A parameter that names a container is not given a full container id.",
    "A name or a short id can be another container's by the time of the action.",
    "Give the `id` of a container fact: `container: $c.id`.",
)  # fmt: skip
UNLIKELY_VALUE = _check(
    "DW312", "unlikely-value",
    "A field is compared with a value that no source is known to give it, such as `action: died` of a container_event.",
    "Often it is another name for one of the known values, and the test never holds.",
    "Use one of the values that are listed, if it is one of them that is meant.",
    "warning",
)  # fmt: skip

# Logic
UNUSED_BINDING = _check(
    "DW401", "unused-binding",
    "One of several patterns is neither joined with another nor used in a text or effect.",
    "The rule fires once for every fact that matches it, with nothing to distinguish them: often a join was forgotten.",
    "Join it, use it, or begin its name with `_` when it only has to be there.",
)  # fmt: skip
UNREACHABLE = _check(
    "DW402", "unreachable-rule",
    "A pattern's tests contradict each other, or nothing that rules assert can match it.",
    "The rule can never fire.",
    "Drop one of the tests, or write several values as a list.",
)  # fmt: skip
ALWAYS_HELD = _check(
    "DW403", "always-held",
    "A pattern under `unless` matches whenever the rule matches.",
    "The rule can never fire.",
    "Narrow the pattern.",
)  # fmt: skip
ENDLESS_CHAIN = _check(
    "DW404", "endless-chain",
    "What a rule does can, by way of other rules or at once, make the same rule fire again.",
    "One fact could keep the chain going for ever.",
    "Test a field that one of the rules sets, so that the chain ends.",
)  # fmt: skip
WIDE_JOIN = _check(
    "DW405", "wide-join",
    "Two patterns that may each match many facts are not joined by equality.",
    "Every fact of one meets every fact of the other: a thousand of each make a million matches.",
    "Join them by a field (`id: $name.id`), or count one of them.",
    "warning",
)  # fmt: skip
ENDLESS_JOIN = _check(
    "DW406", "exploding-join",
    "Three or more patterns over events are not joined by equality.",
    "The number of matches grows with the third power of the number of events.",
    "Join them by a field, or split the rule with a fact of its own in between.",
)  # fmt: skip
REFUSED_ACTION = _check(
    "DW407", "refused-action",
    "The patterns of a rule require what its action is never allowed to touch.",
    "The guardrails would refuse it each time.",
    "Act on what is safe to act on: exited or dead containers, mounts that are not shared and whose container is gone.",
)  # fmt: skip
EVENT_HOLD = _check(
    "DW408", "event-hold",
    "`for` stands in a rule whose patterns are all over events.",
    "An event matches from when it happens until it expires: `for` only delays the rule.",
    "Count the events, or wait for a state (`container`, `daemon`, `disk`).",
    "warning",
)  # fmt: skip
BUILT_IN_ASSERT = _check(
    "DW409", "built-in-assert",
    "A rule asserts a fact of a built-in kind.",
    "Sources emit these; what a rule concludes would be mixed up with what was seen, and be overwritten by it.",
    "Assert a kind of the rule's own.",
    "warning",
)  # fmt: skip
UNBOUNDED_ASSERT = _check(
    "DW410", "unbounded-assert",
    "A rule asserts a fact without `ttl` and without `while_supported`, and no rule retracts its kind.",
    "Such facts never go: working memory grows, and what was concluded once counts for ever.",
    "Add `ttl: 1h`, say, or `while_supported: true`.",
    "warning",
)  # fmt: skip
RESTART_WITHOUT_POLICY = _check(
    "DW411", "restart-without-policy",
    "A rule asks for an action on running containers, and the policy does not name the rule.",
    "The action is decided and refused each time.",
    "Name the rule under `policy.touch_running` in the settings of the hosts where it may act, or leave the action out.",
    "warning",
)  # fmt: skip
FIRES_TOO_OFTEN = _check(
    "DW412", "fires-too-often",
    "On the recording that was named, a rule would have fired more often than is wanted.",
    "An alert that comes all the time is read by nobody, and an action that runs all the time is none.",
    "Try other values: `dockwarden tune RULE at_least=10,20,50`.",
    "warning",
)  # fmt: skip

# Tests
UNTESTED_FIRING = _check(
    "DW501", "untested-firing",
    "No test shows the rule firing.",
    "A rule that was never seen firing may never fire.",
    "Add a test to a *.test.yaml beside it that expects the rule.",
    "warning",
)  # fmt: skip
UNTESTED_SILENCE = _check(
    "DW502", "untested-silence",
    "No test shows the rule staying silent on facts of its kinds.",
    "A rule that always fires passes every test that expects it to.",
    "Add a test that feeds facts which almost match, and expects nothing of it.",
    "warning",
)  # fmt: skip
BAD_TEST = _check(
    "DW503", "bad-test",
    "A test file has a fault: an unknown key, rule, fact kind or action, or an invalid time.",
    "A test that names what does not exist passes or fails for the wrong reason.",
    "Fix the marked place.",
)  # fmt: skip

# Overrides
BAD_OVERRIDE = _check(
    "DW601", "bad-override",
    "An override names an unknown rule or value, sets something that is not a value, or stands in a file for no host.",
    "It would be ignored in silence, and the host would go by the rule as it stands.",
    "Name a rule of this folder, and a value that stands in it by the path of its keys: `when.storm.at_least`.",
)  # fmt: skip
