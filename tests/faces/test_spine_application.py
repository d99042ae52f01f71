"""What is true of all Spine paths: under which interaction an answer is known, and what is said of odd paths."""

from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from conformance.harness import Harness, running
from journeys.messages import PRACTICE, Post, fresh_patient
from journeys.wire import fault_of, signal_of
from openscr.codes import DOCUMENT_LIST, EVENT_LIST, UPLOAD


async def answered(service: Harness, post: Post, code: str) -> list[str]:
    """Send what must be answered by a fault; return the interactions that the log names, first the failure's."""
    with capture_logs() as logs:
        assert fault_of(await post.to(service.url)).codes == (code,)
    return [log["interaction"] for log in logs if log["event"] in {"store failed", "request failed", "answered"}]


async def test_what_the_store_refuses_is_known_by_its_interaction(tmp_path: Path) -> None:
    """Log and metrics say which interaction failed, if the request names one that we know; else ``unknown``."""
    async with running(tmp_path, examples=False) as service:
        await service.store.close()
        upload = PRACTICE.upload(fresh_patient()).post()
        query = PRACTICE.event_list(fresh_patient())
        assert await answered(service, upload, "200") == [UPLOAD, UPLOAD]
        assert await answered(service, query, "200") == [EVENT_LIST, EVENT_LIST]
        await service.store.open()


async def test_a_message_on_another_ebxml_path_is_processed_and_told_of(tmp_path: Path) -> None:
    """The interaction decides, not the path; the log says that the sender is not configured well. 40 DECISION 2."""
    async with running(tmp_path, examples=False) as service:
        for path in ("queryrequest", "forwardreliable", "intermediary", "reliablerequest"):
            post = replace(PRACTICE.upload(fresh_patient()).post(), path=f"/reliablemessaging/{path}")
            with capture_logs() as logs:
                assert signal_of(await post.to(service.url)).kind == "Acknowledgment"
            told = [(log["interaction"], log["path"]) for log in logs if log["event"].startswith("not the path")]
            assert told == ([(UPLOAD, post.path)] if path != "reliablerequest" else [])
            query = replace(PRACTICE.express(fresh_patient()).post(), path=f"/reliablemessaging/{path}")
            with capture_logs() as logs:
                assert (await query.to(service.url)).status == 202
            told = [(log["interaction"], log["path"]) for log in logs if log["event"].startswith("not the path")]
            assert told == ([(DOCUMENT_LIST, query.path)] if path != "queryrequest" else [])
