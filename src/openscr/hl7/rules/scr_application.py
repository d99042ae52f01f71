"""The rules of the question of an SCR application: of its participants only the numbers count.

Spec: 20 §9.2, §11.1; 30 §5.4.
"""

from dataclasses import replace
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
_LOOKER: Final = f"h:subject/{PERSON}"
_LOOKERS: Final = f"h:subject/{_GROUP}"

PERMISSIONS_WRAPPER: Final = RuleSet(*BODY_RULES, *INTERACTION_RULES, *SYSTEM_RULES, interactions={SCR_PERMISSIONS})
"""The wrapper of the question."""

PERMISSIONS_QUERY: Final = RuleSet(
    field_rule(
        "acs-P1",
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
        "acs-P2",
        ".",
        f"count(h:subject) = 1 and count({_LOOKER}) + count({_LOOKERS}) = 1",
        MISSING,
        "Subject",
        Words(
            "The question of an SCR application must say who would look: one person or one workgroup.",
            "Write query/subject once, with one AgentPersonSDS or one AgentWorkgroupSDS in it.",
        ),
        "h:subject",
        "subject",
    ),
    field_rule(
        "acs-P3",
        ".",
        f"not({_LOOKER}) or count({_LOOKER}/{ROLE_PROFILE_ID}{FILLED}) = 1",
        MISSING,
        "Subject",
        Words(
            "The person who would look has no role profile id, or more than one.",
            f"Write query/subject/AgentPersonSDS with one id of root {OID_ROLE_PROFILE}.",
        ),
        f"{_LOOKER}/h:id",
        "subject",
    ),
    field_rule(
        "acs-P5",
        ".",
        f"not({_LOOKERS}) or count({_LOOKERS}/h:id[@root='{OID_ORGANISATION_12}']{FILLED}) = 1",
        MISSING,
        "Subject",
        Words(
            "The workgroup that would look has no id, or more than one.",
            f"Write query/subject/AgentWorkgroupSDS with one id of root {OID_ORGANISATION_12}.",
        ),
        f"{_LOOKERS}/h:id",
        "subject",
    ),
    replace(PATIENT_RULE, id="acs-P6"),
    interactions={SCR_PERMISSIONS},
    base="h:ControlActEvent/h:query",
)
"""Who asks, who would look, and at whose record. P4, any number of workgroups, is a row that nothing can break."""
