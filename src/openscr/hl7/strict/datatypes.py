"""The HL7 V3 data types as the schemas have them: what an element of each type looks like.

Spec: 10 §6.
"""

from collections.abc import Mapping
from typing import Final

from openscr.hl7.strict.grammar import (
    MANY,
    Attribute,
    ElementType,
    Foreign,
    OneOf,
    Sequence,
    hl7,
    optional,
    sequence,
)
from openscr.hl7.strict.values import (
    BASE64,
    BL,
    CS,
    INT,
    OID,
    REAL,
    ST,
    TS,
    UID,
    URL,
    UUID,
    Value,
    fixed,
    tokens,
    words,
)
from openscr.hl7.wrapper import HL7

NULL_FLAVORS: Final = ("NI", "NA", "UNK", "NASK", "ASKU", "NAV", "OTH", "PINF", "NINF")
"""Why a value is not there."""


def may(**values: Value) -> dict[str, Attribute]:
    """Return attributes that may be left out."""
    return {name: Attribute(value) for name, value in values.items()}


def must(**values: Value) -> dict[str, Attribute]:
    """Return attributes that must be there."""
    return {name: Attribute(value, required=True) for name, value in values.items()}


_EVERY: Final = may(nullFlavor=words(NULL_FLAVORS), updateMode=words(("added", "altered", "removed")))
_CODED: Final = may(code=CS, codeSystem=UID, codeSystemName=ST, codeSystemVersion=ST, displayName=ST)
_DATA: Final = may(
    representation=words(("B64", "TXT")),
    mediaType=CS,
    language=CS,
    compression=words(("DF", "GZ", "ZL", "Z")),
    integrityCheck=BASE64,
    integrityCheckAlgorithm=words(("SHA-1", "SHA-256")),
)

_ALL: Final[dict[str, ElementType]] = {}


def _type(
    name: str,
    base: ElementType | None,
    attributes: Mapping[str, Attribute],
    *,
    mixed: bool = False,
    abstract: bool = False,
) -> ElementType:
    made = _ALL[name] = ElementType(name, {**_EVERY, **attributes}, mixed=mixed, base=base, abstract=abstract)
    return made


ANY_TYPE: Final = _type("ANY", None, {}, abstract=True)
_QTY: Final = _type("QTY", ANY_TYPE, {}, abstract=True)
TS_TYPE: Final = _type("TS", _QTY, may(value=TS))
_SXCM_TS: Final = _type("SXCM_TS", TS_TYPE, may(value=TS, operator=words("IEAHP")))
IVL_TS: Final = _type("IVL_TS", _SXCM_TS, _SXCM_TS.attributes)
_IVXB_TS: Final = _type("IVXB_TS", TS_TYPE, may(value=TS, inclusive=BL))
BL_TYPE: Final = _type("BL", ANY_TYPE, may(value=BL))
INT_TYPE: Final = _type("INT", _QTY, may(value=INT))
_REAL: Final = _type("REAL", _QTY, may(value=REAL))
PQ: Final = _type("PQ", _QTY, may(value=REAL, unit=CS))
CD: Final = _type("CD", ANY_TYPE, _CODED)
CE: Final = _type("CE", CD, _CODED)
CV: Final = _type("CV", CE, _CODED)
CS_TYPE: Final = _type("CS", CV, {name: rule for name, rule in _CODED.items() if name != "displayName"})
_CR: Final = _type("CR", CD, {**_CODED, **may(inverted=BL)})
_PQR: Final = _type("PQR", CV, {**_CODED, **may(value=REAL)})
II: Final = _type("II", ANY_TYPE, may(root=UID, extension=ST, assigningAuthorityName=ST, displayable=BL))
_URL: Final = _type("URL", ANY_TYPE, may(value=URL))
TEL: Final = _type("TEL", _URL, may(value=URL, use=tokens(("H", "HP", "HV", "WP", "AS", "EC", "PG", "MC"))))
_BIN: Final = _type("BIN", ANY_TYPE, {"representation": _DATA["representation"]}, mixed=True, abstract=True)
ED: Final = _type("ED", _BIN, _DATA, mixed=True)
ST_TYPE: Final = _type("ST", ED, _DATA, mixed=True)
SC: Final = _type("SC", ST_TYPE, {**_DATA, **_CODED}, mixed=True)
_THUMBNAIL: Final = _type("thumbnail", ED, _DATA)
_PERSONS_USE: Final = (
    "L A I R ABC SYL IDE PREVIOUS-BIRTH PREVIOUS-MAIDEN PREVIOUS-BACHELOR PREVIOUS PREFERRED".split()  # noqa: SIM905
)
EN: Final = _type("EN", ANY_TYPE, may(use=tokens(_PERSONS_USE)), mixed=True)
PN: Final = _type("PN", EN, EN.attributes, mixed=True)
ON: Final = _type("ON", EN, EN.attributes, mixed=True)
TN: Final = _type("TN", EN, EN.attributes, mixed=True)
AD: Final = _type(
    "AD",
    ANY_TYPE,
    may(use=tokens(("PHYS", "PST", "TMP", "BAD", "H", "HP", "HV", "WP", "ABC", "SYL", "IDE")), isNotOrdered=BL),
    mixed=True,
)

# --- content --------------------------------------------------------------------------------------------------------

IVL_TS.content = OneOf(
    (
        sequence(hl7("low", _IVXB_TS), OneOf((optional("width", PQ), optional("high", _IVXB_TS)), least=0)),
        hl7("high", _IVXB_TS),
        sequence(hl7("width", PQ), optional("high", _IVXB_TS)),
        sequence(hl7("center", TS_TYPE), optional("width", PQ)),
    ),
    least=0,
)
PQ.content = hl7("translation", _PQR, 0, MANY)
_ORIGINAL: Final = optional("originalText", ED)
_QUALIFIER: Final = hl7("qualifier", _CR, 0, MANY)
_GROUP: Final = ElementType(content=sequence(hl7("qualifier", _CR, 1, MANY)))
_TRANSLATION: Final = hl7("translation", CD, 0, MANY)
_TERM: Final = (_ORIGINAL, _QUALIFIER, hl7("group", _GROUP, 0, MANY), _TRANSLATION)
CD.content = sequence(*_TERM)
CE.content = sequence(_ORIGINAL, _TRANSLATION)
CV.content = _PQR.content = sequence(_ORIGINAL)
_CR.content = sequence(*_TERM, optional("name", CV), optional("value", CD))
TEL.content = sequence(hl7("useablePeriod", IVL_TS, 0, MANY), optional("id", II))
_ELSEWHERE: Final = Foreign(HL7, other=True, least=0, most=MANY)
_THUMBNAIL.content = sequence(optional("reference", TEL), _ELSEWHERE)
ED.content = ST_TYPE.content = SC.content = sequence(
    optional("reference", TEL), optional("thumbnail", _THUMBNAIL), _ELSEWHERE
)


def _part(code: str, qualifiers: bool = False) -> ElementType:
    """Return a part of a name or an address: text that knows what part it is."""
    known = may(partType=fixed(code))
    if qualifiers:
        known |= may(qualifier=tokens(("BR", "SP", "VV", "AC", "PR", "NB", "LS", "CL", "IN")))
    return ElementType(attributes={**_EVERY, **_DATA, **known}, content=Sequence(()), mixed=True)


_NAME_PARTS: Final = {
    name: hl7(name, _part(code, qualifiers=True))
    for name, code in (
        ("delimiter", "DEL"),
        ("family", "FAM"),
        ("given", "GIV"),
        ("prefix", "PFX"),
        ("suffix", "SFX"),
    )
}
_VALID_TIME: Final = optional("validTime", IVL_TS)
EN.content = PN.content = sequence(OneOf(tuple(_NAME_PARTS.values()), 0, MANY), _VALID_TIME, optional("id", II))
ON.content = sequence(
    OneOf((_NAME_PARTS["delimiter"], _NAME_PARTS["prefix"], _NAME_PARTS["suffix"]), 0, MANY), _VALID_TIME
)
TN.content = sequence(_VALID_TIME)
_ADDRESS_PARTS: Final = {
    "delimiter": "DEL",
    "country": "CNT",
    "state": "STA",
    "county": "CPA",
    "city": "CTY",
    "postalCode": "ZIP",
    "streetAddressLine": "SAL",
    "houseNumber": "BNR",
    "houseNumberNumeric": "BNN",
    "direction": "DIR",
    "streetName": "STR",
    "streetNameBase": "STB",
    "streetNameType": "STTYP",
    "additionalLocator": "ADL",
    "unitID": "UNID",
    "unitType": "UNIT",
    "carrier": "CAR",
    "censusTract": "CEN",
}
_PLAIN_PARTS: Final = {"addressKey": "ADDRK", "desc": "DESC"}
AD.content = sequence(
    OneOf(
        (
            *(hl7(name, _part(code)) for name, code in _ADDRESS_PARTS.items()),
            *(
                hl7(name, ElementType(attributes=may(partType=fixed(code)), content=Sequence(()), mixed=True))
                for name, code in _PLAIN_PARTS.items()
            ),
        ),
        0,
        MANY,
    ),
    hl7("useablePeriod", IVL_TS, 0, MANY),
    optional("id", II),
)
DATA_TYPES: Final[Mapping[str, ElementType]] = _ALL
"""The data types that ``xsi:type`` may name, by name."""

# --- flavours -------------------------------------------------------------------------------------------------------


def flavour(name: str, base: ElementType, of: ElementType) -> ElementType:
    """Give a narrower form of a data type the name that ``xsi:type`` may say."""
    of.name, of.base = name, base
    _ALL[name] = of
    return of


_NULL: Final = may(nullFlavor=words(NULL_FLAVORS))
UUID_MAYBE: Final = flavour("II.NPfIT.uuid.required", II, ElementType(attributes={**_NULL, **may(root=UUID)}))
UUID_ID: Final = flavour("II.NPfIT.uuid.mandatory", UUID_MAYBE, ElementType(attributes=must(root=UUID)))
OID_MAYBE: Final = flavour(
    "II.NPfIT.oid.required", II, ElementType(attributes={**_NULL, **may(root=OID, extension=ST)})
)
OID_ID: Final = flavour("II.NPfIT.oid.mandatory", OID_MAYBE, ElementType(attributes=must(root=OID, extension=ST)))
TIME: Final = ElementType(attributes=must(value=TS))
WHOLE: Final = ElementType(attributes=must(value=INT))
_BOUND: Final = ElementType(
    attributes={**_EVERY, **may(value=REAL, unit=CS, inclusive=BL, originalValue=ST, originalUnit=ST)},
    content=PQ.content,
)
IVL_PQ: Final = ElementType(
    attributes={**_EVERY, **may(operator=words("IEAHP"))},
    content=OneOf(
        (
            sequence(hl7("low", _BOUND), OneOf((hl7("width", PQ), hl7("high", _BOUND)), least=0)),
            hl7("high", _BOUND),
            sequence(hl7("width", PQ), optional("high", _BOUND)),
            sequence(hl7("center", PQ), optional("width", PQ)),
        ),
        least=0,
    ),
)


def code_of(code: Value, system: str = "", display: Value | None = None) -> ElementType:
    """Return a code whose attributes are laid down: all of them must be there, nothing may stand inside."""
    known = must(code=code)
    if system:
        known |= must(codeSystem=fixed(system, token=False))
    if display is not None:
        known |= must(displayName=display)
    return ElementType(attributes=known)


def id_of(root: Value, extension: Value) -> ElementType:
    """Return an id whose root and extension are laid down."""
    return ElementType(attributes=must(root=root, extension=extension))


def text_of(value: Value) -> ElementType:
    """Return a text (ST) that is laid down; left empty it stands for what it must say."""
    return ElementType(attributes=ST_TYPE.attributes, text=value)
