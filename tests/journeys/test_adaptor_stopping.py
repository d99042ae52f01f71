"""An adaptor that is stopped while suppliers wait for a reliable message's next attempt. Spec: 50 §2.3, F11."""

import asyncio
from pathlib import Path

from journeys.adaptor import Adaptor, Supplier
from journeys.stub_estate import comes_to_be, issue_certificates, settings_of, spine_tls
from mhs.stub_spine import StubSpine, acknowledge, fault
from openscr.codes import UPLOAD

MESSAGE_ID = "6C9D1F2E-30B4-4C64-9F59-1C8F0C3A7D10"


async def test_f11_what_is_stored_is_accepted_and_the_next_process_sends_it(tmp_path: Path) -> None:
    """202 instead of a connection cut off: with 503 the supplier would send the message once more under a new id."""
    pki = issue_certificates(tmp_path / "pki")
    async with StubSpine(fault("200"), acknowledge, tls=spine_tls(pki)) as spine:
        given = settings_of(spine.url, pki, retries=2, retry_interval="PT6S", persist_duration="PT60S")
        first = await asyncio.to_thread(Adaptor.start, tmp_path / "data", **given)
        async with Supplier(first) as supplier:
            # The next attempt is due once nothing of this process is left.
            call = asyncio.create_task(supplier.send(UPLOAD, "<upload/>", Message_Id=MESSAGE_ID))
            await spine.after(1)
            await comes_to_be(supplier, MESSAGE_ID, LAST_ERROR="SOAP fault 200")
            stopped = asyncio.create_task(asyncio.to_thread(first.stop))
            assert ((told := await call).status, told.text) == (202, "")
            assert await stopped == 0
        second = await asyncio.to_thread(Adaptor.start, tmp_path / "data", **given)
        async with Supplier(second) as supplier:
            await comes_to_be(supplier, MESSAGE_ID, OUTBOUND_STATUS="OUTBOUND_MESSAGE_ACKD")
        assert [each.body for each in spine.received] == [spine.received[0].body] * 2
        assert await asyncio.to_thread(second.stop) == 0
