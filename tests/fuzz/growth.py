"""Inputs of one shape in any size: what a reader does with twice as much should cost twice as much.

Each function takes a number and returns an input whose length grows with it. The shapes are those that make naive
readers slow: many of something, or much of something inside deep nesting.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from typing import Final

from .seeds import seeds

DEPTH: Final = 150
"""Levels that every shape with nesting has: below the limit of the parser, and the same for every size."""

Shape = Callable[[int], bytes]


def _many(before: str, one: str, after: str) -> Shape:
    """Repeat ``one``; ``@`` in it is the number of the repetition."""

    def build(n: int) -> bytes:
        return (before + "".join(one.replace("@", str(i)) for i in range(n)) + after).encode()

    return build


def _deep(before: str, opens: str, one: str, closes: str, after: str, levels: int = DEPTH) -> Shape:
    """Put repetitions of ``one`` into nested elements."""
    return _many(before + opens * levels, one, closes * levels + after)


@cache
def _seed(name: str, place: str) -> str:
    return next(data.decode() for data in seeds(name) if place.encode() in data)


def _in(name: str, place: str, one: str, *, deep: tuple[str, str] = ("", ""), levels: int = 100) -> Shape:
    """Put repetitions of ``one`` before the first ``place`` of the first good message that has one."""

    def build(n: int) -> bytes:
        before, found, after = _seed(name, place).partition(place)
        opens, closes = deep
        return _deep(before, opens, one, closes, found + after, levels if opens else 0)(n)

    return build


_HEADER: Final = urlsafe_b64encode(b'{"alg":"RS512","typ":"JWT","kid":"k"}').rstrip(b"=").decode()
_MULTIPART: Final = 'multipart/related; boundary="b"\n'
_PRESENTED: Final = (
    '<GPSummary xmlns="urn:hl7-org:v3" xmlns:h="xhtml:NPfIT:PresentationText"><presentationText><value><h:html>'
)
_END_OF_PRESENTED: Final = "</h:html></value></presentationText></GPSummary>"


def _presented(one: str, *, opens: str = "", closes: str = "", levels: int = DEPTH) -> Shape:
    return _deep(_PRESENTED, opens, one, closes, _END_OF_PRESENTED, levels if "<" in opens else 0)


def _framed(opens: str, one: str, closes: str) -> Shape:
    return _many(_PRESENTED + opens, one, closes + _END_OF_PRESENTED)


_EB: Final = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/><s:Body><s:Fault>'
_END_OF_EB: Final = "</s:Fault></s:Body></s:Envelope>"

_ENTRY: Final = (
    "<pertinentInformation2><pertinentCREType><code code='163221000000102'/><component><UKCT_MT144053UK02.Allergy/>"
    "</component></pertinentCREType></pertinentInformation2>"
)
_HEADED: Final = (
    "<pertinentInformation2><pertinentCREType><code code='163221000000102'/>",
    "</pertinentCREType></pertinentInformation2>",
)
_ONE_ENTRY: Final = "<component><UKCT_MT144053UK02.Allergy/></component>"
_HEADING: Final = (
    "<pertinentInformation2><pertinentCREType><code code='163221000000102'/></pertinentCREType></pertinentInformation2>"
)
_REPLACEMENT: Final = "<replacementOf><priorMessageRef><id root='a'/></priorMessageRef></replacementOf>"

SHAPES: Final[dict[str, dict[str, Shape]]] = {
    "xml": {
        "elements": _many("<r>", "<a/>", "</r>"),
        "elements deep inside": _deep("<r>", "<a>", "<b/>", "</a>", "</r>"),
        "attributes": _many("<r ", 'a@="" ', "><a/></r>"),
        "inherited attributes": lambda n: (
            "<r "
            + "".join(f'xml:a{i}="" ' for i in range(n))
            + "><b "
            + "".join(f'a{i}="" ' for i in range(n))
            + "/></r>"
        ).encode(),
        "namespaces in force": _many("<r ", 'xmlns:a@="u" ', "><b/></r>"),
        "namespaces of siblings": _many("<r>", '<a xmlns="u" xmlns:b="v"/>', "</r>"),
        "comments": _many("<r>", "<!-- -->", "<a/></r>"),
        "comments that look like tags": _many("<r>", "<!--<a>-->", "<a/></r>"),
        "CDATA": _many("<r>", "<![CDATA[<]]>", "<a/></r>"),
        "instructions": _many("<r>", "<?a b?>", "<a/></r>"),
        "instructions before the root": _many("", "<?a b?>", "<r><!--<!DOCTYPE--></r>"),
        "unfinished comment before the root": _many("<!DOCTYPE", "<!--", ""),
        "white space in the declaration": _many("<?xml version='1.0' ", " encoding ", "?><r/>"),
        "references": _many("<r>", "&lt;", "</r>"),
        "text": _many("<r>", "text", "</r>"),
        "a long name": _many("<r><a", "a", "/></r>"),
        "a long value": _many('<r a="', ">", '"/>'),
    },
    "mime": {
        "lines like delimiters": _many(f"{_MULTIPART}--b\n\n", "--bb\n", "--b--"),
        "delimiters": _many(_MULTIPART, "--b\n", ""),
        "headers": _many(f"{_MULTIPART}--b\n", "a@: b\n", "\n--b--"),
        "continued headers": _many(f"{_MULTIPART}--b\na: b\n", " c\n", "\n--b--"),
        "parameters": _many("multipart/related; boundary=b", "; a@=b", "\n--b\n\n--b--"),
        "empty parameters": _many("multipart/related; boundary=b", "; ", "\n--b\n\n--b--"),
        "escapes": _many('multipart/related; boundary=b; a="', "\\\\", '"\n--b\n\n--b--'),
        "base64 in pieces": _many(f"{_MULTIPART}--b\nContent-Transfer-Encoding: base64\n\n", "YWJj\n", "\n--b--"),
        "preamble": _many(_MULTIPART, "\r\n-", "\n--b\n\n--b--"),
        "white space behind delimiters": _many(f"{_MULTIPART}--b\n\n", "--b        x\n", "--b--"),
    },
    "mhs_inbound": {
        "entries": _in("mhs_inbound", "</eb:Manifest>", '<eb:Reference xlink:href="mid:@"/>'),
        "entries of parts": _in("mhs_inbound", "</eb:Manifest>", '<eb:Reference xlink:href="cid:@%20"/>'),
        "words of a description": _in("mhs_inbound", "The HL7 payload", 'a="b c" '),
        "quotation marks": _in("mhs_inbound", "The HL7 payload", '\\"'),
        "quotation marks of a file": _in(
            "mhs_inbound",
            "</eb:Manifest>",
            '"',
            deep=('<eb:Reference xlink:href="mid:a"><eb:Description>Filename=', "</eb:Description></eb:Reference>"),
            levels=1,
        ),
        "descriptions": _in("mhs_inbound", "The HL7 payload", "</eb:Description><eb:Description>"),
        "white space of the declaration": _many("text/xml\n<?xml ", " encoding ", "?><a/>"),
        "quoted-printable": _many(
            f"{_MULTIPART}--b\nContent-Transfer-Encoding: quoted-printable\n\n", "=41=\n", "\n--b--"
        ),
        "payload": _in("mhs_inbound", "<id root", "é"),
    },
    "ebxml": {
        "message headers": _in("ebxml", "<eb:MessageHeader", "<eb:MessageHeader><eb:From/></eb:MessageHeader>"),
        "parties": _in("ebxml", "<eb:PartyId", "<eb:PartyId>a</eb:PartyId>"),
        "references": _in("ebxml", "<eb:Reference", '<eb:Reference xmlns:eb="urn:x"/>'),
        "blocks": _in("ebxml", "<eb:AckRequested", "<a/>"),
    },
    "signal": {
        "errors": _many(f"{_EB}<detail>", "<error><errorCode>1@</errorCode></error>", f"</detail>{_END_OF_EB}"),
        "errors in errors": _deep(
            f"{_EB}<detail>",
            "<error><description>",
            "text <a/>",
            "</description></error>",
            f"</detail>{_END_OF_EB}",
            DEPTH // 2,
        ),
        "details": _many(_EB, "<detail><error><description>a</description></error></detail>", _END_OF_EB),
    },
    "soap": {
        "header blocks": _in("soap", "<wsa:MessageID>", "<a/>"),
        "devices": _in("soap", "<wsa:MessageID>", "<communicationFunctionRcv><device/></communicationFunctionRcv>"),
    },
    "psis": {
        "authors": _in("psis", "</ControlActEvent>", "<author/><author1/>"),
        "values": _in("psis", "</query>", "<nHSNumber><value/></nHSNumber><dissentOverride/>"),
    },
    "acs": {
        "assertions": _in(
            "acs",
            "</crs:permissions>",
            "<crs:accessControlAssertion><crs:permission>@</crs:permission><crs:function><crs:context>@</crs:context>"
            "</crs:function></crs:accessControlAssertion>",
        ),
        "contexts": _in("acs", "</crs:permissions>", "<crs:resourceContext/>"),
    },
    "gp_summary": {
        "author systems": _in("gp_summary", "</ControlActEvent>", "<author1><AgentSystemSDS/></author1>"),
        "author systems deep inside": _in(
            "gp_summary",
            "</ControlActEvent>",
            "<author1><AgentSystemSDS/></author1>",
            deep=("<author1><AgentSystemSDS/>", "</author1>"),
        ),
        "document parts": _in("gp_summary", "</GPSummary>", "<a@/>"),
        "entries": _in(
            "gp_summary",
            "</GPSummary>",
            "<pertinentInformation2><pertinentCREType><component><A.B@><id root='a'/></A.B@></component>"
            "</pertinentCREType></pertinentInformation2>",
        ),
        "comments": _in("gp_summary", "</GPSummary>", "<!-- <author> <GPSummary> -->"),
        "namespaces": _in("gp_summary", "</GPSummary>", '<a xmlns="u" xmlns:b="v"/>'),
    },
    "strict": {
        "unknown elements": _in("strict", "</GPSummary>", "<a@/>"),
        "unknown elements deep inside": _in("strict", "<body>", "<b/>", deep=("<p>", "</p>")),
        "paragraphs": _in("strict", "<body>", "<p>@</p>"),
        "known elements out of order": _in("strict", "</GPSummary>", "<statusCode/><author/>"),
        # Long ones: more than a thousand would not be read at all.
        "attributes": _many("<GPSummary xmlns='urn:hl7-org:v3' ", f"a@='{'v' * 60}' ", "/>"),
        "text between elements": _in("strict", "</GPSummary>", "words<!-- -->"),
        "headings": _in("strict", "</GPSummary>", _HEADING),
        "entries": _in("strict", "</GPSummary>", _ENTRY),
        "pointers": _in("strict", "</GPSummary>", "<Diagnosis><id root='@'/></Diagnosis>"),
        "numbers of an OID": _many("<MCCI_IN010000UK13 xmlns='urn:hl7-org:v3' typeID='", "1.", "!'/>"),
        "OIDs": _many("<MCCI_IN010000UK13 xmlns='urn:hl7-org:v3' typeID='", "1.2 ", "!'/>"),
    },
    "summary": {
        "headings": _in("summary", "</GPSummary>", _HEADING),
        "allergies": _in("summary", "</GPSummary>", _ENTRY),
        "allergies under one heading": _in("summary", "</GPSummary>", _ONE_ENTRY, deep=_HEADED, levels=1),
        "replacements": _in("summary", "</GPSummary>", _REPLACEMENT),
        "unknown elements": _in("summary", "</GPSummary>", "<a@/>"),
        "unknown elements deep inside": _in("summary", "</GPSummary>", "<a/>", deep=("<a>", "</a>")),
    },
    "summary_json": {
        "unknown members": _in("summary_json", '"patient"', '"a@": 1, '),
        "members twice": _in("summary_json", '"patient"', '"a": 1, '),
        "entries": _in("summary_json", '"allergies": [', '"problems": [], "allergies": [{}], '),
        "entries in one list": _many('{"allergies": [', "{}, ", "{}]}"),
        "qualifiers": _many(
            '{"format": "openscr-summary/1", "allergies": [{"code": {"code": "1", "qualifiers": [', "{}, ", "{}]}}]}"
        ),
        "nesting": _many("", "[", ""),
    },
    "acknowledgement": {
        "details": _in(
            "acknowledgement", "<hl7:messageRef", "<hl7:acknowledgementDetail><hl7:code/></hl7:acknowledgementDetail>"
        ),
        "reasons": _in(
            "acknowledgement",
            "</hl7:ControlActEvent>",
            "<hl7:reason><hl7:justifyingDetectedIssueEvent><hl7:code/></hl7:justifyingDetectedIssueEvent></hl7:reason>",
        ),
        "reasons in reasons": _in(
            "acknowledgement",
            "</hl7:ControlActEvent>",
            "<hl7:justifyingDetectedIssueEvent><hl7:code/></hl7:justifyingDetectedIssueEvent>",
            deep=("<hl7:justifyingDetectedIssueEvent>", "</hl7:justifyingDetectedIssueEvent>"),
        ),
    },
    "answers": {},
    "presentation": {
        "a long word": _presented("x"),
        "words": _presented("word "),
        "a long word in a list": _framed("<h:ul><h:li>", "x", "</h:li></h:ul>"),
        "text in unknown elements": _presented("a<b/>", opens="<u>", closes="</u>"),
        "text in paragraphs": _presented("a<h:br/>", opens="<h:p>", closes="</h:p>"),
        "paragraphs in paragraphs": _presented("<h:p>a</h:p>", opens="<h:p>", closes="</h:p>"),
        "rows": _framed("<h:table>", "<h:tr><h:th>a</h:th><h:td>b c</h:td></h:tr>", "</h:table>"),
        "columns": _framed("<h:table><h:tr>", "<h:td>a</h:td>", "</h:tr></h:table>"),
        "spans": _framed(
            "<h:table><h:tr>",
            '<h:td rowspan="99" colspan="99">a</h:td>',
            "</h:tr>" + "<h:tr><h:td>a</h:td></h:tr>" * 99 + "</h:table>",
        ),
        "headings": _framed("<h:table>", "<h:thead><h:tr><h:th>a</h:th></h:tr></h:thead>", "</h:table>"),
        "tables in tables": _presented(
            "a", opens="<h:table><h:tr><h:td>", closes="</h:td></h:tr></h:table>", levels=60
        ),
        "links": _presented('<h:a id="a@" href="#a@">b</h:a>'),
        "headers of a cell": _framed('<h:table><h:tr><h:td headers="', "a ", '">b</h:td></h:tr></h:table>'),
        "scripts": _presented("<h:script>a</h:script>"),
        "quotes": _framed('<h:table summary="', "&quot;", '"><h:tr><h:td>a</h:td></h:tr></h:table>'),
    },
    "inbox": {
        "messages": lambda n: json.dumps(
            {"next": n, "messages": [{"ref_to_message_id": "a", "payload": "<a/>"}] * n}
        ).encode(),
        "nesting": _many("", "[", ""),
    },
    "client_assertion": {
        "parts": _many("", "a.", ""),
        "one part": _many("", "eyJh", ".e30.AA"),
        "claims": _many(f"{_HEADER}.", "eyJh", ".AA"),
        "nesting": lambda n: f"{_HEADER}.{urlsafe_b64encode(b'[' * n).decode()}.AA".encode(),
    },
    "parameters": {
        "parameters": _many("", "a@=b&", ""),
        "one value": _many("a=", "%41+", ""),
        "separators": _many("", "&", ""),
    },
    "directory": {
        "values": _many("dn: o=nhs\nobjectClass: nhsAs\n", "nhsAsSvcIA: urn:nhs:names:services:psis:A@\n", ""),
        "attributes": _many("dn: o=nhs\nobjectClass: nhsAs\n", "a@: b\n", ""),
        "folded lines": _many("dn: o=nhs\nobjectClass: nhsAs\n", "a: b\n c\n", ""),
        "comments": _many("dn: o=nhs\n", "# a\n", "o: nhs\n"),
        "base64": _many("dn: o=nhs\na:: ", "YWJj", "\n"),
        "entries": _many(
            "",
            "dn: uniqueIdentifier=@,o=nhs\nobjectClass: nhsMhs\nnhsIDCode: A\nnhsMHSPartyKey: A-1\nnhsMhsCPAId: S\n"
            "nhsMhsSvcIA: urn:nhs:names:services:psis:A@\nnhsMHSEndPoint: https://a.example/\nnhsMhsFQDN: a@\n\n",
            "",
        ),
        "roles": _many(
            "",
            "dn: uniqueIdentifier=@,uid=1,o=nhs\nobjectClass: nhsOrgPersonRole\nuniqueIdentifier: @\n"
            "nhsJobRoleCode: R1\nnhsIDCode: A\n\n",
            "",
        ),
        "levels of a name": _many("dn: uid=1", ",uid=1", "\nobjectClass: nhsOrgPersonRole\n"),
        "blanks in a name": _many("dn: uid=1", " ", "x,o=nhs\nobjectClass: nhsOrgPerson\n"),
        "escapes in a name": _many("dn: uid=1", "\\2c", ",o=nhs\nobjectClass: nhsOrgPerson\n"),
        "entries as JSON": lambda n: json.dumps({"entries": [{"dn": "o=nhs", "raw": {"a": ["b"]}}] * n}).encode(),
        "nesting": _many('{"entries": ', "[", ""),
    },
    "directory_search": {
        "parameters": _many("", "organization=https://fhir.nhs.uk/Id/ods-organization-code|A@&", ""),
        "one value": _many("user-role-id=https://fhir.nhs.uk/Id/nhsJobRoleCode|", "1", ""),
        "separators": _many("", "&", ""),
        "bars": _many("organization=", "|", ""),
    },
}


_EVENT: Final = (
    '<psis:event><psis:eventStatus code="1"/><psis:persistenceDate value="20250101000000"/>'
    "<psis:author><a>text</a></psis:author></psis:event>"
)
_OUTER_EVENT: Final = (
    '<psis:event><psis:eventStatus code="1"/><psis:persistenceDate value="20250101000000"/><psis:author><a>'
)
SHAPES["answers"] |= {
    "events": _in("answers", "</psis:queryResponseEventList>", _EVENT),
    "events in events": _in(
        "answers",
        "</psis:queryResponseEventList>",
        "text <a/>",
        deep=(_OUTER_EVENT, "</a></psis:author></psis:event>"),
        levels=60,
    ),
    "assertions in assertions": _in(
        "answers",
        "<psis:queryResponseEventList>",
        "<a/>",
        deep=("<accessControlAssertion>", "</accessControlAssertion>"),
    ),
}
