"""The rules of the question of an SCR application: of its participants only the numbers count.

Spec: 20 §9.2, §11.1; 30 §5.4.
"""

from typing import Final

from openscr.codes import OID_ORGANISATION_12, OID_ROLE_PROFILE, SCR_PERMISSIONS
from openscr.hl7.rules.book import RuleSet, Words
from openscr.hl7.rules.participants import FILLED, PERSON, ROLE_PROFILE_ID
from openscr.hl7.rules.queries import (
    BODY_RULES,
    INTERACTION_RULES,
    MISSING,
    PATIENT_RULE,
    SYSTEM_RULES,
    field_rule,
)

_GROUP: Final = "h:AgentWorkgroupSDS"
_OF_PERSON: Final = f"count(h:subject/{PERSON}/{ROLE_PROFILE_ID}{FILLED}) = 1"
_OF_GROUP: Final = f"count(h:subject/{_GROUP}/h:id[@root='{OID_ORGANISATION_12}']{FILLED}) = 1"

PERMISSIONS_WRAPPER: Final = RuleSet(*BODY_RULES, *INTERACTION_RULES, *SYSTEM_RULES, interactions={SCR_PERMISSIONS})
"""The wrapper of the question."""

PERMISSIONS_QUERY: Final = RuleSet(
    field_rule(
        "psis-scra-author",
        ".",
        f"count(h:author) = 1 and count(h:author/{PERSON}/{ROLE_PROFILE_ID}{FILLED}) = 1",
        MISSING,
        "Author",
        Words(
            "The question of an SCR application must say who asks, once, by role profile.",
            f"Write query/author/AgentPersonSDS with one id of root {OID_ROLE_PROFILE}.",
        ),
        f"h:author/{PERSON}/h:id",
        "author",
    ),
    field_rule(
        "psis-scra-subject",
        ".",
        f"count(h:subject) = 1 and count(h:subject/{PERSON}) + count(h:subject/{_GROUP}) = 1 and "
        f"(({_OF_PERSON} and h:subject/{PERSON}) or ({_OF_GROUP} and h:subject/{_GROUP}))",
        MISSING,
        "Subject",
        Words(
            "The question of an SCR application must say who would look: one person or one workgroup.",
            f"Write query/subject with one AgentPersonSDS (id root {OID_ROLE_PROFILE}) or one AgentWorkgroupSDS (id "
            f"root {OID_ORGANISATION_12}).",
        ),
        "h:subject",
        "subject",
    ),
    PATIENT_RULE,
    interactions={SCR_PERMISSIONS},
    base="h:ControlActEvent/h:query",
)
"""Who asks, who would look, and at whose record."""
