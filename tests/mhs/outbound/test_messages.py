"""F19: what has become of messages, and sending a failed one again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mhs.outbound.posting import Face, face
from mhs.rig import TestClock, context
from openscr.errors import StoreUnavailable
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow
from openscr.mhs.store.interface import MessageRow, SendingRow, SendState, StatusChange, Transaction

NOON = TestClock().now
ROW = MessageRow(
    "M/1 é",
    NOON,
    Workflow.ASYNC_RELIABLE,
    interaction="REPC_IN150016UK05",
    correlation_id="C1",
    outbound_status=OutboundStatus.NACKD,
    inbound_status=InboundStatus.PROCESSED,
    history=(
        StatusChange(NOON, OutboundStatus.RECEIVED),
        StatusChange(NOON + timedelta(milliseconds=1500), OutboundStatus.NACKD),
    ),
    last_error="the Spine answered 500",
)
SENDING = SendingRow(
    "M/1 é",
    "https://spine.test/",
    (),
    b"<bytes/>",
    retries=2,
    retry_interval=60,
    persist_duration=300,
    state=SendState.FAILED,
    attempts=3,
    first_attempt_at=NOON,
    last_error="the Spine answered 500",
)
PATH = "/messages/M/1%20%C3%A9"


async def keep(served: Face, *rows: MessageRow, sending: SendingRow | None = None) -> None:
    async def work(transaction: Transaction) -> None:
        for row in rows:
            await transaction.put_message(row)
        if sending is not None:
            await transaction.put_sending(sending)

    await served.context.store.transact(work)


async def test_f19_one_message_with_its_history() -> None:
    async with face() as served:
        await keep(served, ROW)
        got = await served.ask("GET", PATH)
        assert (got.status, got.headers["content-type"]) == (200, "application/json")
        assert got.json == {
            "MESSAGE_ID": "M/1 é",
            "CREATED": "2026-11-23T12:00:00.000000Z",
            "INBOUND_STATUS": "INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED",
            "OUTBOUND_STATUS": "OUTBOUND_MESSAGE_NACKD",
            "WORKFLOW": "async-reliable",
            "INTERACTION": "REPC_IN150016UK05",
            "CORRELATION_ID": "C1",
            "HISTORY": [
                {"AT": "2026-11-23T12:00:00.000000Z", "STATUS": "OUTBOUND_MESSAGE_RECEIVED"},
                {"AT": "2026-11-23T12:00:01.500000Z", "STATUS": "OUTBOUND_MESSAGE_NACKD"},
            ],
            "LAST_ERROR": "the Spine answered 500",
        }


async def test_f19_unset_is_null() -> None:
    """Spec: 50 §6."""
    async with face() as served:
        await keep(served, MessageRow("M1", NOON, Workflow.SYNC))
        got = (await served.ask("GET", "/messages/M1")).json
        assert [got[name] for name in ("INBOUND_STATUS", "OUTBOUND_STATUS", "LAST_ERROR")] == [None, None, None]


async def test_f19_a_message_that_was_posted_can_be_asked_for() -> None:
    async with face() as served:
        got = await served.post(message_id="M1")
        assert got.status == 202
        assert (await served.ask("GET", "/messages/M1")).json["OUTBOUND_STATUS"] == "OUTBOUND_MESSAGE_ACKD"


async def test_f19_an_unknown_message() -> None:
    async with face() as served:
        got = await served.ask("GET", "/messages/nothing")
        assert (got.status, got.text) == (404, "404: No message with this Message-Id is known")
        assert got.headers["correlation-id"]
        problem = await served.ask("GET", "/messages/nothing", {"Accept": "application/json"})
        assert (problem.status, problem.json["code"]) == (404, "message_unknown")


def listed(answer: dict[str, object]) -> list[str]:
    messages = answer["messages"]
    assert isinstance(messages, list)
    return [each["MESSAGE_ID"] for each in messages]


async def test_f19_lists_by_status_and_time_page_by_page() -> None:
    rows = [
        MessageRow(
            f"M{number}",
            NOON + timedelta(seconds=number // 2),
            Workflow.SYNC,
            outbound_status=OutboundStatus.ACKD if number % 2 else OutboundStatus.NACKD,
            inbound_status=InboundStatus.PROCESSED if number == 3 else None,
        )
        for number in range(7)
    ]
    async with face() as served:
        await keep(served, *rows)

        async def ask(query: str) -> list[str]:
            return listed((await served.ask("GET", f"/messages{query}")).json)

        assert await ask("") == [f"M{number}" for number in range(7)]
        assert await ask("?status=OUTBOUND_MESSAGE_ACKD") == ["M1", "M3", "M5"]
        assert await ask("?status=INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED") == ["M3"]
        assert await ask("?since=2026-11-23T12:00:02Z") == ["M4", "M5", "M6"]
        assert await ask("?since=2026-11-23T12:00:02%2B00:00&status=OUTBOUND_MESSAGE_NACKD") == ["M4", "M6"]
        path: object = "/messages?limit=3&since=2026-11-23T12:00:00Z"
        pages = []
        while path is not None:
            answer = (await served.ask("GET", str(path))).json
            pages.append(listed(answer))
            path = answer.get("next")
        assert pages == [["M0", "M1", "M2"], ["M3", "M4", "M5"], ["M6"]]


@pytest.mark.parametrize(
    "query",
    [
        "status=DONE",
        "since=yesterday",
        "since=2026-11-23T12:00:00",
        "since=0001-01-01T00:00:00%2B23:59",
        "after=9999-12-31T23:59:59-23:59%20M1",
        "after=x",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=%C2%B2",
        "limit=10000000000000000000000",
    ],
)
async def test_f19_conditions_that_mean_nothing_are_refused(query: str) -> None:
    async with face() as served:
        got = await served.ask("GET", f"/messages?{query}")
        assert got.status == 400
        assert got.text.startswith("400: ")


async def test_f19_a_failed_message_is_sent_again() -> None:
    async with face() as served:
        await keep(served, ROW, sending=SENDING)
        got = await served.ask("POST", f"{PATH}/resend")
        assert (got.status, got.json["OUTBOUND_STATUS"]) == (202, "OUTBOUND_MESSAGE_RECEIVED")
        history = got.json["HISTORY"]
        assert isinstance(history, list)
        assert len(history) == 3
        due = await served.context.store.lease_sendings(NOON, NOON + timedelta(seconds=60), 10)
        assert [(row.message_id, row.body, row.attempts, row.state) for row in due] == [
            ("M/1 é", b"<bytes/>", 0, SendState.OPEN)
        ]
        again = await served.ask("POST", f"{PATH}/resend")
        assert (again.status, again.text) == (409, "409: This message is still being sent")
        (audited,) = [row async for row in served.context.store.read_audit()]
        assert audited.entry.content["outcome"] == "resent"
        assert audited.entry.content["message_id"] == "M/1 é"


async def test_f19_what_is_not_kept_cannot_be_sent_again() -> None:
    async with face() as served:
        await keep(served, ROW, replace(ROW, message_id="M2"))
        got = await served.ask("POST", f"{PATH}/resend")
        assert got.text == (
            "409: Only a reliable message whose attempts have failed is kept to be sent again; post the message once "
            "more"
        )
        assert (await served.ask("POST", "/messages/nothing/resend")).status == 404


async def test_f19_methods() -> None:
    async with face() as served:
        for method, path in (("POST", "/messages"), ("DELETE", PATH), ("GET", f"{PATH}/resend")):
            got = await served.ask(method, path)
            assert got.status in (404, 405), (method, path)


class _Away:
    """A store that does not answer."""

    engine = "away"

    async def open(self) -> None:
        """Be of no use."""

    async def close(self) -> None:
        """Be of no use."""

    async def find_message(self, _message_id: str) -> None:
        raise StoreUnavailable("away")

    list_messages = transact = find_message


async def test_f19_a_store_that_does_not_answer() -> None:
    async with face(adaptor=context(store=_Away())) as served:  # type: ignore[arg-type]
        for method, path in (("GET", "/messages"), ("GET", "/messages/M1"), ("POST", "/messages/M1/resend")):
            got = await served.ask(method, path)
            assert (got.status, got.text) == (503, "503: The store does not answer now; try again")
        assert (await served.post()).text == "500: Internal Server Error"
