"""What the validator says of one input: the form for programs, and all that a page for people is made from.

Spec: 00 §4 ``validate --json``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How strictly a message is judged: as the store itself does, or as the model of the messages says. 10 §11.5."""

    SPINE = "spine"
    STRICT = "strict"


class Severity(StrEnum):
    """An error is what Spine refuses; a warning is what it takes although the model says otherwise."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding with its place.

    ``rule`` is our id of the rule, ``key`` Spine's constant (empty where the rule is ours), ``text`` what follows it.
    ``code`` and ``code_system`` are what the answer would carry. ``xpath`` is empty for what is not an element.
    ``line`` counts from 1 and ``offset`` is in bytes, both in the input as it came. ``wrong`` and ``mend`` say in plain
    English what is the matter and what to do about it.
    """

    rule: str
    severity: Severity
    key: str
    code: str
    code_system: str
    text: str
    xpath: str
    line: int
    offset: int
    wrong: str
    mend: str

    @property
    def help(self) -> str:
        """What is wrong and how to mend it, in one text."""
        return f"{self.wrong} {self.mend}".strip()

    def form(self) -> dict[str, Any]:
        """Return the finding as JSON has it; of the content only what Spine's own text quotes (rule S11) is in it."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "key": self.key,
            "code": self.code,
            "code_system": self.code_system,
            "text": self.text,
            "xpath": self.xpath,
            "line": self.line,
            "help": self.help,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The findings about one input, in the order of their places.

    ``interaction`` is none for what carries none (a SOAP fault, an empty HTTP answer). ``kind`` says in words what the
    input is. ``recognised`` is false for what is no message of the Summary Care Record at all.
    """

    interaction: str | None
    kind: str
    diagnoses: tuple[Diagnosis, ...] = ()
    recognised: bool = True
    level: Level = Level.SPINE

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(diagnosis.severity is Severity.ERROR for diagnosis in self.diagnoses)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return len(self.diagnoses) - self.errors

    @property
    def ok(self) -> bool:
        """Whether Spine would take the message: warnings do not count."""
        return self.errors == 0

    def form(self, name: str) -> dict[str, Any]:
        """Return the report on the input of this name as JSON has it."""
        return {
            "input": name,
            "interaction": self.interaction,
            "level": self.level.value,
            "ok": self.ok,
            "findings": [diagnosis.form() for diagnosis in self.diagnoses],
        }
