"""What every rule means in plain English, and how to mend a message that breaks it.

One table for all rules: those of payloads have their words in the rule book, those of envelopes and deviations here.
Spine's own texts are not in it: they are literal in the finding itself.

Spec: 00 §4 ``validate``; 10 §11, §14, §17; 20 §12; 30 §5; 40 §4.2, §5, §10.4.
"""

from typing import Final

from openscr.hl7.rules import RULE_BOOK, Words
from openscr.validation import deviation_wording, envelope_wording


def _table(*rows: tuple[str, str, str]) -> dict[str, Words]:
    table = {rule.id: rule.words for rules in RULE_BOOK for rule in rules.rules}
    for rules_of_row, wrong, mend in rows:
        for rule in rules_of_row.split():
            if rule in table:
                raise ValueError(f"{rule} has two rows")
            table[rule] = Words(wrong, mend)
    return table


REMEDIES: Final = _table(*envelope_wording.WORDING, *deviation_wording.WORDING)
"""The words for each rule; a rule that has several cases has a row for each, as ``rule/case``."""

CAUSES: Final = {
    "": "the XML is not well-formed here.",
    "DOCTYPE": "a document type declaration (DTD) stands here, which Spine does not take.",
    "ENCODING": "the text is not UTF-8, or says that it is something else.",
    "UTF-16": "the text is UTF-16, as some editors and shells write it; Spine takes UTF-8 alone.",
    "UTF-32": "the text is UTF-32; Spine takes UTF-8 alone.",
    "DEPTH": "elements are nested deeper than 200 levels.",
    "NAMESPACES": "more than 1,000 namespace declarations are in force at one place.",
    "ATTRIBUTES": "an element has more than 1,000 attributes.",
    "ERR_TAG_NAME_MISMATCH": "this end tag does not belong to the element that is open here.",
    "ERR_TAG_NOT_FINISHED": "the document ends while an element is still open.",
    "ERR_GT_REQUIRED": "a tag is not finished: its > is missing.",
    "ERR_LTSLASH_REQUIRED": "an end tag is missing or broken.",
    "ERR_DOCUMENT_EMPTY": "no element begins here.",
    "ERR_DOCUMENT_END": "something follows after the end of the root element.",
    "ERR_UNDECLARED_ENTITY": "an entity is used that XML itself does not know (it knows amp, lt, gt, quot, apos).",
    "ERR_ATTRIBUTE_REDEFINED": "an attribute stands twice in one tag.",
    "ERR_ATTRIBUTE_NOT_STARTED": "the value of an attribute is not in quotation marks.",
    "ERR_ATTRIBUTE_NOT_FINISHED": "the quotation mark at the end of an attribute is missing.",
    "ERR_LT_IN_ATTRIBUTE": "a < stands in the value of an attribute; write &lt;.",
    "ERR_NAME_REQUIRED": "a name is missing, perhaps after a bare & or <; write &amp; or &lt;.",
    "ERR_ENTITYREF_SEMICOL_MISSING": "an entity lacks its semicolon, or a bare & stands in the text; write &amp;.",
    "ERR_INVALID_CHAR": "a character stands here that XML does not allow.",
    "ERR_SPACE_REQUIRED": "a space is missing between two attributes.",
    "ERR_RESERVED_XML_NAME": "the XML declaration does not stand at the very beginning.",
    "NS_ERR_UNDEFINED_NAMESPACE": "a prefix is used that no xmlns attribute declares.",
}
"""What kind of trouble the XML is in, by the parser's name for it."""


def remedy_of(rule: str, variant: str = "") -> Words:
    """Return the words for a rule. Raises: `KeyError` for a rule that is none."""
    return REMEDIES[f"{rule}/{variant}" if variant else rule]
