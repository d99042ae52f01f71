"""The shapes of the four medication elements. Spec: 10 §8.4, §8.5 UKCT_MT144040UK01."""

from typing import Final

from openscr.clinical import entries as clinical
from openscr.codes import OID_MEDICATION_TEXT
from openscr.hl7.datatypes import AMOUNT, CODED_EQUIVALENT, INTERVAL, MOMENT, TEXT
from openscr.hl7.entry_parts import (
    ENTRY_CODE,
    ENTRY_ID,
    OBSERVATION,
    PERT_CONTEXT,
    PN,
    REASONS,
    SUPPORT,
    P,
    authored,
    entry_shape,
    fixed_code,
    performed,
    pertinent,
    points_at,
    separable,
    status_of,
    template,
    time_of,
)
from openscr.hl7.shapes import Content, Fixed, Latitude, Leaf, Node, Shape, Sub, Within


def _instructions(name: str, inside: str, member: str, code: str, display: str) -> Within:
    observation = Content(Leaf("value", member, TEXT), fixed_code(code, display, OID_MEDICATION_TEXT))
    return Within(name, PERT_CONTEXT, Content(separable(), Within(inside, OBSERVATION, observation)))


def _reason(name: str, member: str) -> Sub:
    attributes = {"typeCode": "RSON", "inversionInd": "false", "negationInd": "false"}
    return points_at(name, member, REASONS, attributes, "sourceOf1", many=True)


_DOSE: Final = _instructions(
    "pertinentInformation1", "pertinentDosageInstructions", "dosage", "DI", "Dose Instructions"
)
_QUANTITY: Final = Within(
    "component",
    {"typeCode": "COMP"},
    Content(
        separable(),
        Within(
            "medicationQuantity",
            {"classCode": "SPLY", "moodCode": "RQO"},
            Content(Leaf("quantity", "quantity", AMOUNT), fixed_code("246205007", "Quantity")),
        ),
    ),
    required=False,
)
_PRODUCT: Final = Within(
    "consumable",
    {"typeCode": "CSM", "contextControlCode": "OP"},
    Content(
        Within(
            "manufacturedProduct",
            {"classCode": "MANU"},
            Content(
                Within(
                    "manufacturedManufacturedMaterial",
                    {"classCode": "MMAT", "determinerCode": "KIND"},
                    Content(Leaf("code", "product", CODED_EQUIVALENT)),
                    latitude=Latitude(free=frozenset({"determinerCode"})),
                )
            ),
        )
    ),
    latitude=Latitude(optional=frozenset({"contextControlCode"})),
)
_SUPPLY: Final = Sub(
    "supply",
    Shape(
        "pertinentInformation3",
        pertinent(),
        Content(
            template("sourceOf2"),
            separable(),
            Within(
                "pertinentDaysSupply",
                {"classCode": "SPLY", "moodCode": "RQO"},
                Content(
                    Leaf("expectedUseTime", "time", INTERVAL),
                    ENTRY_ID,
                    fixed_code("228864003", "Duration of Course of Treatment"),
                ),
            ),
        ),
        of=clinical.Supply,
    ),
)
_MEDICATION_END: Final = (authored(P), _QUANTITY, _PRODUCT, SUPPORT, _SUPPLY, _reason("reason", "reasons"))


def _prescribed(name: str, of: type, code: Fixed, status: Leaf, time: Leaf, *after_dose: Node) -> Shape:
    nodes = (ENTRY_ID, code, status, time, _DOSE, *after_dose, *_MEDICATION_END)
    return entry_shape(f"UKCT_MT144040UK01.{name}", of, "SBADM", *nodes, mood="RQO")


MEDICATION_SHAPES: Final = (
    _prescribed(
        "CurrentRepeatMedication",
        clinical.CurrentRepeatMedication,
        fixed_code("222681000000101", "Repeat medication"),
        status_of("normal", "active", "nullified"),
        time_of(INTERVAL),
    ),
    _prescribed(
        "AcuteMedication",
        clinical.AcuteMedication,
        fixed_code("222671000000103", "Acute medication"),
        status_of("normal", "active", "nullified", "completed", "aborted"),
        time_of(MOMENT),
    ),
    _prescribed(
        "DiscontinuedRepeatMedication",
        clinical.DiscontinuedRepeatMedication,
        fixed_code("222691000000104", "Discontinued repeat medication"),
        status_of("normal", "nullified", "completed", "aborted"),
        time_of(INTERVAL),
        _reason("reason1", "discontinuation_reasons"),
    ),
    entry_shape(
        "UKCT_MT144040UK01.MedicationAdministration",
        clinical.MedicationAdministration,
        "SBADM",
        ENTRY_ID,
        ENTRY_CODE,
        status_of("normal", "active", "nullified", "completed", "aborted"),
        time_of(INTERVAL),
        performed(PN, INTERVAL),
        _instructions(
            "pertinentInformation2",
            "pertinentAdministrationDetails",
            "administration",
            "AD",
            "Medication administration Instructions",
        ),
        *_MEDICATION_END,
    ),
)
