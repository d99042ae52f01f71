"""Who may call: 50 F15, C6."""

from datetime import timedelta

import pytest

from mhs.inbound.posting import acknowledged, adaptor, audited, multipart, post, queued, remember
from openscr.access.certificates import ClientCertificate

SPINE = "msg.spine.test.example"
UNKNOWN = "403: The client certificate bears none of the names that may call here"


async def test_without_a_list_whoever_the_authorities_vouch_for_may_call() -> None:
    context = await adaptor()
    await remember(context)
    certificate = ClientCertificate("anybody.test", (), "1F", context.clock() + timedelta(days=1))
    assert acknowledged(await post(context, certificate=certificate))


@pytest.mark.parametrize(
    ("common_name", "dns_names"),
    [(SPINE, ()), (SPINE.upper(), ()), (None, ("other.test", SPINE)), ("other.test", (SPINE,))],
)
async def test_f15_a_name_of_the_list_may_call(common_name: str | None, dns_names: tuple[str, ...]) -> None:
    context = await adaptor(inbound_allowed_names=("second.test", f" {SPINE} "))
    await remember(context)
    certificate = ClientCertificate(common_name, dns_names, "1F", context.clock() + timedelta(days=1))
    assert acknowledged(await post(context, certificate=certificate))
    assert len(await audited(context)) == 1


@pytest.mark.parametrize(
    ("common_name", "dns_names"),
    [("other.test", ()), (None, ()), (f"x.{SPINE}", (f"{SPINE}.evil.test",)), ("", ("*.spine.test.example",))],
)
async def test_f15_any_other_name_may_not(common_name: str | None, dns_names: tuple[str, ...]) -> None:
    context = await adaptor(inbound_allowed_names=(SPINE,))
    await remember(context)
    certificate = ClientCertificate(common_name, dns_names, "1F", context.clock() + timedelta(days=1))
    answered = await post(context, certificate=certificate)
    assert (answered.status, answered.text) == (403, UNKNOWN)
    assert await queued(context) == []
    (record,) = await audited(context)
    assert record.entry.content["outcome"] == "403"
    assert record.entry.content["caller"] == certificate.identity


async def test_f15_nobody_without_a_certificate_when_there_is_a_list() -> None:
    context = await adaptor(inbound_allowed_names=(SPINE,))
    answered = await post(context, multipart())
    assert (answered.status, answered.text) == (403, UNKNOWN)


async def test_a_connection_does_not_outlive_its_certificate() -> None:
    context = await adaptor()
    certificate = ClientCertificate(SPINE, (), "1F", context.clock() - timedelta(seconds=1))
    answered = await post(context, certificate=certificate)
    assert (answered.status, answered.text) == (403, "403: The client certificate has expired")
