"""The page of the rule book, docs/rules.md, written from the rules themselves by ``scripts/write_pages.py``."""

from collections.abc import Callable, Iterable

from openscr.hl7.rules import RULE_BOOK, Rule

PAGE = """\
# The rule book

What Spine's published rules ask of a message, and what OpenSCR asks beside them. The service judges by these rules, so
do `openscr validate` and the client before it sends. This page is written from them.

A rule looks at the elements that *where* names, below the root of the interaction. What *must hold* there is XPath:
`h` is HL7 V3 (`urn:hl7-org:v3`), `crs` the Access Control Service, and `scr:is-nhs-number` asks for ten digits with the
right check digit. `$interaction` is the action of the envelope; `$action`, `$receiver` and `$sender` are what the SOAP
header says; `$number` is the NHS number of the request. A rule with several rows looks at several things.

Nothing else is checked at level `spine`. Level `strict` adds [the model of the messages](strict.md): every element,
attribute, order and code.
"""

FAMILIES = {
    "gp": ("GP Summary uploads", "`REPC_IN150015UK05`, `REPC_IN150016UK05`, `REPC_IN150016SM05`."),
    "wd": ("Withdrawals", "`REPC_IN150017UK02`, `REPC_IN150018UK02`; the rules `gp-C1` to `gp-C4` hold for them too."),
    "psis": ("Queries", "Event, document and subject access queries, and the question of an SCR application."),
    "acs": ("Consent", "`SET_`, `GET_` and `HAS_RESOURCE_PERMISSIONS_INUK01`."),
    "soap": ("The wrapper of consent messages", "The rules 9 to 21 of synchronous requests."),
    "alert": ("Alerts", "`COMT_IN000001UK01`."),
}
"""Sections by the prefix of the rules' ids."""


def rule_page(table: Callable[[tuple[str, ...], Iterable[tuple[str, ...]]], str], text: Callable[[str], str]) -> str:
    """Return docs/rules.md; ``table`` and ``text`` write Markdown."""
    sections: dict[str, list[tuple[Rule, str]]] = {prefix: [] for prefix in FAMILIES}
    seen = set()
    for rules in RULE_BOOK:
        for rule in rules.rules:
            key = (rule.id, rule.context, rule.test)
            if key not in seen:
                seen.add(key)
                sections[rule.id.partition("-")[0]].append((rule, rules.base))
    written = [PAGE]
    for prefix, (title, told) in FAMILIES.items():
        if rows := sections[prefix]:
            written.append(f"\n## {title}\n\n{told}\n\n")
            written.append(
                table(
                    ("rule", "where", "must hold", "Spine says", "answered with", "in plain English"),
                    (_row(rule, base, text) for rule, base in rows),
                )
            )
    return "".join(written)


def _row(rule: Rule, base: str, text: Callable[[str], str]) -> tuple[str, ...]:
    where = "/".join(part for part in (base, rule.context) if part != ".") or "the root"
    said = f"{_code(rule.key)} {text(rule.text)}".strip()
    return (
        _code(rule.id),
        _code(where.replace("///", "//")) if where != "the root" else where,
        _code(rule.test),
        said,
        _code(rule.code),
        text(f"{rule.words.wrong} {rule.words.mend}"),
    )


def _code(words: str) -> str:
    shown = words.replace("\t", "&#9;").replace("\r", "&#13;").replace("\n", "&#10;").replace("|", "\\|")
    return f"`{shown}`"
