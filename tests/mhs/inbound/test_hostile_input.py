"""What nobody means well with: refused within bounds, with nothing kept. Spec: 50 F10, F23; 40 §6.6."""

import gzip
import threading
import tracemalloc

import pytest

from mhs.inbound.posting import (
    CONTENT_TYPE,
    MimePart,
    acknowledged,
    adaptor,
    audited,
    envelope,
    header_part,
    multipart,
    payload_part,
    post,
    queued,
    reference,
    remember,
)
from openscr.mhs.inbound import application, bodies
from openscr.mhs.inbound.bodies import LARGEST, BodyTooLarge, unpack

MEGABYTE = 1_048_576


def test_f10_gzip_bomb_is_never_unpacked_beyond_the_limit() -> None:
    bomb = gzip.compress(bytes(64 * MEGABYTE), 9)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            unpack(bomb, MEGABYTE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MEGABYTE


async def test_f10_gzip_bomb_is_answered_as_what_is_too_large() -> None:
    context = await adaptor()
    bomb = gzip.compress(bytes(LARGEST + 1), 1)
    answered = await post(context, bomb, content_encoding="gzip")
    assert (answered.status, answered.body) == (400, b"")
    assert answered.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("body", "encoding", "status", "text"),
    [
        (b"no gzip", "gzip", 400, "400: The body is not the gzip that its Content-Encoding says"),
        (gzip.compress(multipart())[:-9], "gzip", 400, "400: The body is not the gzip that its Content-Encoding says"),
        (
            gzip.compress(multipart()) + b"x",
            "gzip",
            400,
            "400: The body is not the gzip that its Content-Encoding says",
        ),
        (multipart(), "br", 415, "415: Only the content encodings gzip and identity are taken"),
        (multipart(), "gzip, gzip", 415, "415: Only the content encodings gzip and identity are taken"),
    ],
)
async def test_f10_broken_content_encoding(body: bytes, encoding: str, status: int, text: str) -> None:
    context = await adaptor()
    await remember(context)
    answered = await post(context, body, content_encoding=encoding)
    assert (answered.status, answered.text) == (status, text)
    assert await queued(context) == []


async def test_a_body_that_announces_too_much_is_not_read() -> None:
    answered = await post(await adaptor(), b"x", content_length=str(LARGEST + 1))
    assert (answered.status, answered.body, answered.headers["connection"]) == (400, b"", "close")


DTD = '<!DOCTYPE a [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "ebxml",
    [
        DTD + envelope(ConversationId="&lol2;"),
        OUTSIDE + envelope(ConversationId="&file;"),
        "<!DOCTYPE a>" + envelope(),
        envelope(content="<a>" * 300 + "</a>" * 300),
        envelope()[:-3],
        envelope().replace("eb:CPAId", "eb:CPAId xmlns:a='b' xmlns:a='c'", 1),
        envelope(CPAId="\x01"),
        "",
    ],
    ids=["entities", "external entity", "doctype", "deep", "cut off", "declared twice", "control character", "empty"],
)
async def test_f23_envelope_that_no_parser_should_touch(ebxml: str) -> None:
    context = await adaptor()
    await remember(context)
    answered = await post(context, multipart(header_part(ebxml), payload_part()))
    assert (answered.status, answered.text) == (500, "500: Internal Server Error")
    assert await queued(context) == []


async def test_f23_payload_is_never_parsed() -> None:
    """What the supplier is sent is the supplier's to judge; nothing of it is expanded here."""
    context = await adaptor()
    await remember(context)
    payload = DTD + "<a>&lol2;</a>"
    assert acknowledged(await post(context, multipart(header_part(), payload_part(payload))))
    (message,) = await queued(context)
    assert b"&lol2;" in message.body


PARSING = "500: Exception during inbound message parsing The parts of the message cannot be told apart: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (multipart(*[header_part()] * 101), "the body has more than 100 parts"),
        (
            multipart(MimePart(b"x", type="text/xml; " + "a" * 20_000)),
            "the header block of a part exceeds 16384 bytes",
        ),
        (b"----=_MIME-Boundary\r\nno header at all\r\n\r\nx", "the header block of a part cannot be read"),
        (
            multipart(MimePart(b"x", id="a>\r\nContent-Id: <b")),
            "a part has two different headers of one name",
        ),
    ],
)
async def test_hostile_framing(body: bytes, text: str) -> None:
    answered = await post(await adaptor(), body)
    assert (answered.status, answered.text) == (500, PARSING + text)


@pytest.mark.parametrize("id", ["A" * 257, "a&#10;b", "a&#13;Injected: yes", "a&#9;b"])
async def test_f23_ids_on_one_line_only(id: str) -> None:
    context = await adaptor()
    await remember(context)
    answered = await post(context, multipart(header_part(envelope(MessageId=id)), payload_part()))
    assert answered.status == 500
    assert answered.text.endswith("An id is longer than 256 characters or holds control characters")


@pytest.mark.parametrize("element", ["From", "CPAId"])
async def test_what_is_repeated_in_an_answer_that_is_kept_is_bounded(element: str) -> None:
    context = await adaptor()
    await remember(context)
    answered = await post(context, multipart(header_part(envelope(**{element: "A" * 257})), payload_part()))
    assert answered.text.endswith("An id is longer than 256 characters or holds control characters")
    assert await queued(context) == []


async def test_f10_others_need_not_wait_while_a_body_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bytes may be a hundred megabytes packed."""
    threads: list[int] = []

    def watch(packed: bytes, limit: int) -> bytes:
        threads.append(threading.get_ident())
        return unpack(packed, limit)

    monkeypatch.setattr(bodies, "unpack", watch)
    context = await adaptor()
    await remember(context)
    assert acknowledged(await post(context, gzip.compress(multipart()), content_encoding="gzip"))
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_f23_conversation_id_on_several_lines_is_one_line_in_the_properties() -> None:
    context = await adaptor()
    await remember(context)
    await post(context, multipart(header_part(envelope(ConversationId=" a&#13;&#10;X-Evil: b ")), payload_part()))
    (message,) = await queued(context)
    assert message.correlation_id == "a X-Evil: b"


async def test_a_manifest_with_very_many_entries_is_read_in_time() -> None:
    """Linear, or this test would not end."""
    context = await adaptor()
    await remember(context)
    references = reference("cid:payload@spine.nhs.uk") + reference("mid:x", description="Filename=&quot;a") * 50_000
    answered = await post(context, multipart(header_part(envelope(references=references)), payload_part()))
    assert acknowledged(answered)


async def test_an_error_of_ours_tells_nothing_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Mrs Smith")

    monkeypatch.setattr(application, "read_arrived", fail)
    context = await adaptor()
    answered = await post(context)
    assert (answered.status, answered.text) == (500, "500: Internal Server Error")
    (record,) = await audited(context)
    assert "Smith" not in str(record)


async def test_what_a_stranger_calls_its_message_stands_in_no_audit() -> None:
    context = await adaptor()
    body = multipart(header_part(envelope(Action="Mrs Smith, 9990000018", RefToMessageId=None)), payload_part())
    answered = await post(context, body, content_type=CONTENT_TYPE)
    assert answered.text == "404: Unknown interaction ID: Mrs Smith, 9990000018"
    (record,) = await audited(context)
    assert record.entry.content["interaction"] == "unreadable"


@pytest.mark.parametrize("size", [1000, 2_000_000])
async def test_large_and_small_messages_are_read_alike(size: int) -> None:
    """Large ones on a thread of their own."""
    context = await adaptor()
    await remember(context)
    assert acknowledged(await post(context, multipart(header_part(), payload_part("é" * size)), pieces=50))
    (message,) = await queued(context)
    assert message.body.count("é".encode()) == size
