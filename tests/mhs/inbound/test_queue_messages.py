"""What a supplier reads: the JSON and the properties of 50 §3.4, and that it is what was sent (L26, L27, F10)."""

import base64
import gzip
import json
import quopri
import zlib
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP
from typing import Any

import pytest

from delivery.rows import a_row, an_id
from mhs.inbound.posting import (
    CONVERSATION,
    PAYLOAD,
    PAYLOAD_REFERENCE,
    REPLY_ID,
    REQUEST_ID,
    MimePart,
    adaptor,
    envelope,
    header_part,
    multipart,
    only_message,
    payload_part,
    post,
    queued,
    reference,
    remember,
)
from openscr.codes import ACS_SET, UPLOAD, WITHDRAW
from openscr.errors import WRAPPER_ERRORS, refusal
from openscr.mhs.context import AdaptorContext
from openscr.spine import AckType, Outcome
from openscr.testbench.world import PRACTICE_PARTY
from openscr.transport.mime import read_multipart
from shared import MESSAGES, shared


async def answering(body: bytes, *, content_type: str | None = None, **headers: str) -> AdaptorContext:
    """An adaptor that waited for a reply and has had this one."""
    context = await adaptor()
    await remember(context)
    framing = {} if content_type is None else {"content_type": content_type}
    answered = await post(context, body, **framing, **headers)  # type: ignore[arg-type]
    assert answered.status == 200, answered.text
    return context


async def json_of(context: AdaptorContext) -> dict[str, Any]:
    (message,) = await queued(context)
    read = json.loads(message.body)
    assert isinstance(read, dict)
    return read


def http(path: str, folder: Any) -> tuple[dict[str, str], bytes]:
    head, _, body = (folder / f"{path}.http").read_bytes().partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("ascii").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in lines}, body


async def test_c4_queue_json_and_properties_of_3_4() -> None:
    references = (
        PAYLOAD_REFERENCE
        + reference("cid:one@x", description="a\tlet\nter", id="_A1")
        + reference(
            "mid:E54DEC57-6BA5-40AB-ACD0-1E383209C034",
            description='Filename="735BB673 marbles.BMP" ContentType=application/octet-stream',
            id="_735BB673",
        )
    )
    ebxml = envelope(references=references)
    attachment = MimePart(b"aGVsbG8=", id="one@x", type="application/pdf; name=x", encoding="base64")
    unlisted = MimePart(b"nobody names me", id="two@x", type="text/plain")
    context = await answering(multipart(header_part(ebxml), payload_part(), attachment, unlisted))
    (message,) = await queued(context)
    assert message.id not in (REQUEST_ID, REPLY_ID)
    assert message.properties == {"message-id": REQUEST_ID, "correlation-id": CONVERSATION}
    assert list(json.loads(message.body).items()) == [
        ("ebXML", ebxml),
        ("payload", PAYLOAD),
        (
            "attachments",
            [
                {
                    "payload": "aGVsbG8=",
                    "is_base64": True,
                    "content_id": "one@x",
                    "content_type": "application/pdf",
                    "description": "a" + "letter",
                }
            ],
        ),
        (
            "external_attachments",
            [
                {
                    "document_id": "_735BB673",
                    "message_id": "E54DEC57-6BA5-40AB-ACD0-1E383209C034",
                    "description": 'Filename="735BB673 marbles.BMP" ContentType=application/octet-stream',
                    "title": "735BB673 marbles.BMP",
                }
            ],
        ),
    ]


@pytest.mark.parametrize("folder", ["ours", "shared"])
@pytest.mark.parametrize(
    "name",
    [
        "03-upload-response-post-aa",
        "05-upload-response-post-ae",
        "06-upload-response-post-ar",
        "09-express-response-post",
    ],
)
async def test_c4_replies_of_the_specification(name: str, folder: str) -> None:
    """Payload and envelope are on the queue as they stand in the captured message."""
    where = MESSAGES / "transport" if folder == "ours" else shared("spec", "examples", "transport")
    headers, body = http(name, where)
    parts = [part.content(body).decode() for part in read_multipart(headers["content-type"], body).parts]
    ref, conversation = (
        parts[0].partition(f"<eb:{element}>")[2].partition("<")[0] for element in ("RefToMessageId", "ConversationId")
    )
    context = await adaptor(secret_party_key="B99901-900101")
    await remember(context, message_id=ref)
    answered = await post(context, body, content_type=headers["content-type"], soapaction=headers["soapaction"])
    assert answered.status == 200, answered.text
    (message,) = await queued(context)
    assert message.properties == {"message-id": ref, "correlation-id": conversation}
    assert json.loads(message.body) == {
        "ebXML": parts[0],
        "payload": parts[1],
        "attachments": [],
        "external_attachments": [],
    }


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(),
        Outcome(AckType.ERROR, refusal("30418")),
        Outcome(AckType.REJECTED, (WRAPPER_ERRORS["501"], WRAPPER_ERRORS["507"])),
    ],
    ids=["AA", "AE", "AR"],
)
@pytest.mark.parametrize("interaction", [UPLOAD, WITHDRAW, ACS_SET])
async def test_c4_replies_of_our_own_service(outcome: Outcome, interaction: str) -> None:
    """What `delivery` renders is what a supplier reads."""
    row = a_row(7, outcome=outcome, interaction=interaction)
    context = await adaptor(secret_party_key=PRACTICE_PARTY)
    await remember(context, message_id=row.ref_to_message_id)
    answered = await post(context, row.body, content_type=row.content_type, soapaction=row.soap_action)
    assert answered.status == 200, answered.text
    (message,) = await queued(context)
    assert message.properties == {"message-id": an_id(10_007).lower(), "correlation-id": "a conversation"}
    header, payload = read_multipart(row.content_type, row.body).parts
    read = json.loads(message.body)
    assert read["ebXML"].encode() == header.content(row.body)
    assert read["payload"].encode() == payload.content(row.body)


# --- L27: what went wrong before ------------------------------------------------------------------------------------

MULTIBYTE = "naïve — Ελληνικά — 👩🏽‍⚕️ — ﷽"


@pytest.mark.parametrize("pieces", [1, 7, 1000])
async def test_l27_multibyte_characters_are_not_mangled(pieces: int) -> None:
    """However the bytes come in."""
    payload = f"<a>{MULTIBYTE}</a>"
    attached = MimePart(MULTIBYTE.encode(), id="a@x", type="text/plain; charset=utf-8")
    references = PAYLOAD_REFERENCE + reference("cid:a@x", description=MULTIBYTE)
    context = await adaptor()
    await remember(context)
    body = multipart(header_part(envelope(references=references)), payload_part(payload), attached)
    await post(context, body, pieces=pieces)
    message = await only_message(context)
    assert message.payload == payload
    assert [(each.payload, each.description) for each in message.attachments] == [(MULTIBYTE, MULTIBYTE)]


async def test_l27_more_than_98_external_attachments() -> None:
    references = PAYLOAD_REFERENCE + "".join(
        reference(f"mid:M{number}", description=f'Filename="{number}.txt"', id=f"_{number}") for number in range(500)
    )
    context = await answering(multipart(header_part(envelope(references=references)), payload_part()))
    message = await only_message(context)
    assert [(each.message_id, each.title) for each in message.external_attachments] == [
        (f"M{number}", f"{number}.txt") for number in range(500)
    ]


async def test_l27_98_attachments() -> None:
    ids = [f"{number}@x" for number in range(98)]
    references = PAYLOAD_REFERENCE + "".join(reference(f"cid:{id}", description=id) for id in ids)
    parts = [MimePart(id.encode(), id=id, type="text/plain") for id in ids]
    context = await answering(multipart(header_part(envelope(references=references)), payload_part(), *parts))
    assert [each.payload for each in (await only_message(context)).attachments] == ids


@pytest.mark.parametrize("encoding", ["base64", "binary", "8bit"])
async def test_l27_compressed_fragments_are_intact(encoding: str) -> None:
    """A fragment of a large record: gzip, in base64 or as it is. No byte of it may change."""
    compressed = gzip.compress(MULTIBYTE.encode() * 2000)
    wrapped = base64.encodebytes(compressed).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    sent = wrapped if encoding == "base64" else compressed
    references = PAYLOAD_REFERENCE + reference("cid:f@x", description="Compressed=Yes")
    part = MimePart(sent, id="f@x", type="application/octet-stream", encoding=encoding)
    context = await answering(multipart(header_part(envelope(references=references)), payload_part(), part))
    (attachment,) = (await only_message(context)).attachments
    assert attachment.is_base64
    assert zlib.decompress(base64.b64decode(attachment.payload), 31) == MULTIBYTE.encode() * 2000
    if encoding == "base64":
        assert attachment.payload.encode() == sent, "it is handed on as it came, line ends and all"


async def test_l27_equals_sign_in_a_file_name() -> None:
    description = 'Filename="a=b=.txt" ContentType=text/plain'
    references = PAYLOAD_REFERENCE + reference("mid:M", description=description.replace('"', "&quot;"))
    context = await answering(multipart(header_part(envelope(references=references)), payload_part()))
    (external,) = (await only_message(context)).external_attachments
    assert (external.title, external.description, external.document_id) == ("a=b=.txt", description, None)


async def test_l27_descriptions_come_back_as_they_were_before_they_were_escaped() -> None:
    references = PAYLOAD_REFERENCE + reference("mid:M", description="a &lt;b&gt; &amp; c")
    context = await answering(multipart(header_part(envelope(references=references)), payload_part()))
    (external,) = (await only_message(context)).external_attachments
    assert (external.description, external.title) == ("a <b> & c", None)


async def test_l27_manifest_and_ids_reach_the_supplier() -> None:
    """L26: everything that the envelope said is there to be read."""
    context = await answering(multipart())
    ebxml = (await json_of(context))["ebXML"]
    assert all(text in ebxml for text in (CONVERSATION, REPLY_ID, REQUEST_ID, "cid:payload@spine.nhs.uk"))


# --- F10: bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charset", "declared"),
    [("utf-8", ""), ("iso-8859-1", ""), ("windows-1252", ""), ("utf-16", ""), ("", "iso-8859-1"), ("US-ASCII", "")],
)
@pytest.mark.parametrize("encoding", ["8bit", "base64", "binary"])
async def test_f10_payload_is_decoded_with_its_charset(charset: str, declared: str, encoding: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = f"{declaration}<a>{'cafe' if charset == 'US-ASCII' else 'café'}</a>"
    content = text.encode(charset or declared)
    if encoding == "base64":
        content = base64.encodebytes(content)
    type = f"text/xml; charset={charset}" if charset else "text/xml"
    context = await answering(multipart(header_part(), payload_part(content, type=type, encoding=encoding)))
    assert (await only_message(context)).payload == text


@pytest.mark.parametrize(
    "type", ["application/xml", "text/xml; charset=klingon", "text/xml; charset=idna", "text/xml;;="]
)
async def test_f10_undecodable_payload_becomes_an_attachment(type: str) -> None:
    """Nothing is lost, and nothing is guessed."""
    content = b"<a>\xff\xfe</a>"
    context = await answering(multipart(header_part(), payload_part(content, type=type)))
    message = await only_message(context)
    assert message.payload == ""
    (attachment,) = message.attachments
    assert (attachment.is_base64, attachment.content_id) == (True, "payload@spine.nhs.uk")
    assert (attachment.content_type, attachment.description) == (type.partition(";")[0], "HL7 payload")
    assert base64.b64decode(attachment.payload) == content


@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="us-ascii"?>'])
async def test_f10_who_says_us_ascii_and_writes_utf_8_is_understood(declaration: str) -> None:
    """The reference reads every body as UTF-8; some libraries name US-ASCII whatever they write."""
    text = f"{declaration}<a>café</a>"
    type = "text/xml" if declaration else "text/xml; charset=us-ascii"
    context = await answering(multipart(header_part(), payload_part(text, type=type)))
    message = await only_message(context)
    assert (message.payload, message.attachments) == (text, ())


async def test_f10_attachment_that_is_no_text_goes_in_base64() -> None:
    references = PAYLOAD_REFERENCE + reference("cid:a@x")
    parts = MimePart(b"\x89PNG\r\n\x1a\n\0", id="a@x", type="image/png", encoding="binary")
    context = await answering(multipart(header_part(envelope(references=references)), payload_part(), parts))
    (attachment,) = (await only_message(context)).attachments
    assert attachment.is_base64
    assert base64.b64decode(attachment.payload) == b"\x89PNG\r\n\x1a\n\0"


async def test_f10_envelope_in_another_charset() -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + envelope(CPAId="é")
    header = header_part(text.encode("iso-8859-1"), type="text/xml; charset=ISO-8859-1")
    context = await answering(multipart(header, payload_part()))
    assert (await only_message(context)).ebxml == text


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity"])
async def test_f10_gzip_content_encoding(encoding: str) -> None:
    body = multipart()
    sent = body if encoding == "identity" else gzip.compress(body)
    context = await answering(sent, content_encoding=encoding)
    assert (await only_message(context)).payload == PAYLOAD


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_line_ends_of_framing_are_free_and_those_of_contents_are_kept(line_end: bytes) -> None:
    payload = "<a>\r\n\t<b/>\n</a>"
    body = multipart(header_part(), payload_part("PAYLOAD")).replace(b"\r\n", line_end)
    context = await answering(body.replace(b"PAYLOAD", payload.encode()))
    assert (await only_message(context)).payload == payload


async def test_a_payload_is_found_wherever_it_stands() -> None:
    """40 §5.1: by the manifest, and the envelope by ``start``."""
    other = MimePart(b"hello", id="a@x", type="text/plain")
    references = reference("cid:a@x", description="letter") + PAYLOAD_REFERENCE
    context = await answering(multipart(other, payload_part(), header_part(envelope(references=references))))
    message = await only_message(context)
    assert message.payload == PAYLOAD
    assert [each.payload for each in message.attachments] == ["hello"]


async def test_f10_quoted_printable_is_decoded() -> None:
    references = PAYLOAD_REFERENCE + reference("cid:t@x") + reference("cid:b@x")
    parts = [
        MimePart(quopri.encodestring(content), id=id, type=type, encoding="quoted-printable")
        for id, type, content in (("t@x", "text/plain", MULTIBYTE.encode()), ("b@x", "image/png", b"\x89\0=\xff"))
    ]
    payload = payload_part(quopri.encodestring(f"<a b='='>{MULTIBYTE}</a>".encode()), encoding="quoted-printable")
    context = await answering(multipart(header_part(envelope(references=references)), payload, *parts))
    message = await only_message(context)
    assert message.payload == f"<a b='='>{MULTIBYTE}</a>"
    assert [(each.is_base64, each.payload) for each in message.attachments] == [
        (False, MULTIBYTE),
        (True, base64.b64encode(b"\x89\0=\xff").decode()),
    ]


async def test_a_reference_may_be_written_as_a_url_or_as_the_id_itself() -> None:
    references = (
        PAYLOAD_REFERENCE + reference("cid:a%2Bb%40x", description="1") + reference("cid:c%20d", description="2")
    )
    parts = [MimePart(b"x", id=id, type="text/plain") for id in ("a+b@x", "c%20d")]
    context = await answering(multipart(header_part(envelope(references=references)), payload_part(), *parts))
    attachments = (await only_message(context)).attachments
    assert [(each.content_id, each.description) for each in attachments] == [("a+b@x", "1"), ("c%20d", "2")]


async def test_message_as_another_adaptor_forwards_it() -> None:
    """50 §2.5: LF, ``start`` without quotation marks and angle brackets, extra headers."""
    content_type = 'multipart/related; boundary="--=_MIME-Boundary"; type=text/xml; start=ebXMLHeader@spine.nhs.uk'
    body = multipart().replace(b"\r\n", b"\n")
    context = await answering(body, content_type=content_type, charset="UTF-8", message_id="X", correlation_id="Y")
    assert (await only_message(context)).payload == PAYLOAD


async def test_message_as_a_library_of_others_writes_it() -> None:
    """Python's own: another boundary, MIME-Version, base64 with line ends, folded headers."""
    references = PAYLOAD_REFERENCE + reference("cid:a@x", description="one")
    message = MIMEMultipart("related", boundary="a " + "b" * 60)
    header = MIMEText(envelope(references=references), "xml", "us-ascii")
    payload = MIMEText(f"<a>{MULTIBYTE}</a>", "xml", "utf-8")
    payload.add_header("Content-ID", "<payload@spine.nhs.uk>")
    attachment = MIMEApplication(b"\0" * 500, "pdf", name="a long name of a file " * 5)
    attachment.add_header("Content-Id", "<a@x>")
    for part in (header, payload, attachment):
        message.attach(part)
    written = message.as_bytes(policy=SMTP)
    head, _, body = written.partition(b"\r\n\r\n")
    content_type = head.replace(b"\r\n ", b" ").partition(b"Content-Type: ")[2].partition(b"\r\n")[0].decode()
    context = await answering(body, content_type=content_type)
    read = await only_message(context)
    assert read.payload == f"<a>{MULTIBYTE}</a>"
    (attached,) = read.attachments
    assert (attached.is_base64, attached.content_type) == (True, "application/pdf")
    assert base64.b64decode(attached.payload) == b"\0" * 500
