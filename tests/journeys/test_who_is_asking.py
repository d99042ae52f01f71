"""Who is asking, at a real service: tokens of a provider elsewhere and of the local one, roles, smartcards, logout.

Every refusal leaves its row in the audit, and no token is written down anywhere. Spec: 35 §4, §9.1, §9.6.
"""

import base64
import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

import pytest
from aiohttp import web
from cryptography import x509

from identity_provider import (
    CLOSED,
    CLOSED_ROLE,
    GP,
    GP_ROLE,
    NURSE,
    NURSE_OTHER_ROLE,
    NURSE_ROLE,
    ROLELESS,
    Clock,
    IdentityProvider,
    key,
    role_claim,
)
from journeys.messages import PRACTICE, Client, fresh_patient
from journeys.runner import Server, command, stored
from journeys.wire import Answer, connected, post, request_bytes, soap_of
from openscr.access.saml import AssertionRefused, read_role_assertion
from openscr.codes import ACKNOWLEDGEMENT, ACS_GET_ANSWER, QUERY_FAILED
from openscr.faces.governance.application import STRANGERS_A_MINUTE
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.identifiers import mint_uuid, utc_now
from openscr.spine import Consent, Person
from openscr.store.interface import AuditEntry
from openscr.transport.xml import read_xml
from smartcard_broker import SmartcardBroker

SESSION = "/governance/session"
LOGOUT = "/governance/backchannel-logout"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


async def ask(server: Server, token: str | None, method: str = "GET", **headers: str) -> Answer:
    """Ask who the token says we are."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if token is not None:
        named.append(("Authorization", f"Bearer {token}"))
    return await post(server.web, SESSION, b"", named, method=method)


def outcome(answer: Answer) -> tuple[int, str, str, str, str]:
    """Status, and of the OperationOutcome issue, code, display and diagnostics."""
    assert answer.header("content-type") == "application/fhir+json"
    assert answer.header("cache-control") == "no-store"
    document = json.loads(answer.body)
    assert document["resourceType"] == "OperationOutcome"
    (issue,) = document["issue"]
    (coding,) = issue["details"]["coding"]
    assert coding["system"] == "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode"
    return answer.status, issue["code"], coding["code"], coding["display"], issue.get("diagnostics", "")


async def audited(server: Server) -> list[AuditEntry]:
    """The rows of the audit, but for those of the demo's own beginnings."""
    async with stored(server.data) as store:
        return [row.entry async for row in store.read_audit() if row.entry.content.get("address")]


def nothing_kept_of(secrets: list[str], server: Server, rows: list[AuditEntry]) -> None:
    """Assert that no token, nor the telling part of one, stands in log, figures or audit."""
    written = server.log.read_text("utf-8", "replace") + repr(rows)
    for folder in server.data.glob("*.metrics"):
        written += folder.read_text("utf-8", "replace")
    assert len(secrets) > 1
    for secret in secrets:
        for part in (secret, *secret.split(".")[1:]):
            assert len(part) < 12 or part not in written


def refused(code: str = "ACCESS_DENIED", display: str = "Invalid access token") -> tuple[int, str, str, str, str]:
    """The refusal of a token."""
    return 401, "forbidden", code, display, ""


async def test_tokens_of_a_provider_elsewhere(start: Callable[..., Server]) -> None:
    """Good ones, and each bad one of the checklist: its answer, its challenge, its row in the audit."""
    async with IdentityProvider() as provider:
        provider.users[GP] = {"name": "Gita Demopractice", "nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        server = start(demo=True, token_issuers=provider.base)
        now = int(utc_now().timestamp())
        request_id, correlation_id = mint_uuid(), mint_uuid()

        answer = await ask(server, provider.token(), X_Request_ID=request_id, X_Correlation_ID=correlation_id)
        assert answer.status == 200, answer.body
        assert (answer.header("x-request-id"), answer.header("x-correlation-id")) == (request_id, correlation_id)
        told = json.loads(answer.body)
        assert (told["user_id"], told["name"], told["assurance_level"]) == (GP, "Gita Demopractice", 3)
        assert told["role"] == {
            "role_profile_id": GP_ROLE,
            "job_role": "S8000:G8000:R8000",
            "organisation": "Y90001",
            "activities": ["B0020", "B0168", "B0370", "B0380", "B8029"],
        }
        assert told["system"] == {"asid": "200000000115", "party_key": "Y90001-0000001"}

        bad: dict[str, tuple[str | None, str, str]] = {
            "missing": (None, "token_missing", "Invalid access token"),
            "expired": (provider.token(exp=now - 120), "token_expired", "Access Token expired"),
            "early": (provider.token(nbf=now + 600), "token_not_yet_valid", "Invalid access token"),
            "audience": (provider.token(aud="another"), "token_audience", "Invalid access token"),
            "none": (provider.unsigned(provider.claims()), "token_algorithm", "Invalid access token"),
            "HS256": (provider.confused(provider.claims()), "token_algorithm", "Invalid access token"),
            "kid": (provider.sign(provider.claims(), kid="unknown"), "token_key_unknown", "Invalid access token"),
            "signature": (
                provider.sign(provider.claims(), "rsa-2", kid="rsa-1"),
                "token_signature",
                "Invalid access token",
            ),
            "issuer": (provider.token(iss="https://elsewhere.test"), "token_issuer", "Invalid access token"),
            "AAL1": (
                provider.token(authentication_assurance_level=1),
                "assurance_too_low",
                "Authentication assurance level 2 or higher is needed",
            ),
            "scope": (provider.token(scope="openid"), "token_scope", "Invalid access token"),
            "huge": (provider.token(filler="x" * 30_000), "token_malformed", "Invalid access token"),
            "nested": (
                provider.sign(b'{"a":' * 1000 + b"1" + b"}" * 1000),
                "token_malformed",
                "Invalid access token",
            ),
            "non-ASCII": (provider.token() + "é", "token_malformed", "Invalid access token"),
        }
        for case, (token, _, display) in bad.items():
            answer = await ask(server, token)
            assert outcome(answer) == refused(display=display), case
            challenge = "Bearer" if token is None else 'Bearer error="invalid_token"'
            assert answer.header("www-authenticate") == challenge, case
            assert answer.header("x-correlation-id")

        application = provider.sign(provider.application_claims())
        support = "Your app has insufficient permissions to use this method. Please contact support."
        for method in ("GET", "POST"):
            answer = await ask(server, application, method)
            assert outcome(answer) == (401, "unknown", "UNKNOWN_ERROR", "Unknown Error", support)
            text = json.loads(answer.body)["issue"][0]["details"]["text"]
            assert text == f"Application-restricted access is not available on this {method} request"
        for method in ("PUT", "DELETE"):
            display = "Cannot update resource with Application-Restricted access token"
            answer = await ask(server, application, method)
            assert outcome(answer) == (403, "forbidden", "INVALID_METHOD", display, support)

        answer = await ask(server, provider.token(client_id="app-noasid"))
        assert outcome(answer)[:3] == (400, "invalid", "MISSING_OR_INVALID_HEADER")
        answer = await ask(server, provider.token(client_id="app-batch"))
        display = "The sender or receiver's ASID is not authorised for this interaction"
        assert outcome(answer) == (403, "forbidden", "ASID_CHECK_FAILED", display, "")
        assert (await ask(server, provider.token(), "DELETE")).header("allow") == "GET"
        answer = await ask(server, provider.token(), X_Request_ID="not-a-uuid", X_Correlation_ID=correlation_id)
        assert (answer.status, answer.header("x-correlation-id")) == (400, correlation_id)
        assert answer.header("x-request-id") != "not-a-uuid"

        forged = {"NHSD_ASID": "200000000116", "NHSD_Identity_UUID": NURSE, "client_ip": "203.0.113.9"}
        told = json.loads((await ask(server, provider.token(), **forged)).body)
        assert (told["user_id"], told["system"]["asid"]) == (GP, "200000000115")

        assert server.stop() == 0
        rows = await audited(server)
        reasons = Counter(row.content["reason"] for row in rows if row.content.get("reason"))
        expected = Counter(reason for _, reason, _ in bad.values())
        expected += Counter(
            {
                "application_restricted": 4,
                "asid_missing": 1,
                "interaction_not_entitled": 1,
                "wrong_method": 1,
                "invalid_x_request_id": 1,
            }
        )
        assert reasons == expected
        assert {row.outcome for row in rows} == {"AR"}
        assert all(row.content["address"] == "127.0.0.1" and row.content["correlation_id"] for row in rows)
        batch = next(row for row in rows if row.content["reason"] == "interaction_not_entitled")
        assert (batch.action, batch.content["user_id"]) == (f"GET {SESSION}", GP)
        nothing_kept_of(provider.secrets, server, rows)


async def test_the_six_texts(start: Callable[..., Server]) -> None:
    """In which role: chosen, the only one, or none that counts."""
    async with IdentityProvider() as provider:
        nurse = [
            role_claim(NURSE_ROLE, org_code="RZZ01", role_code="R8001", activity_codes=["B0370", "B0264"]),
            role_claim(NURSE_OTHER_ROLE, org_code="RZZ01", role_code="R8003", activity_codes=["B0570"]),
        ]
        provider.users = {
            NURSE: {"nhsid_nrbac_roles": nurse},
            ROLELESS: {"nhsid_nrbac_roles": []},
            CLOSED: {"nhsid_nrbac_roles": [role_claim(CLOSED_ROLE)]},
            GP: {"nhsid_nrbac_roles": "GP"},
        }
        server = start(demo=True, token_issuers=provider.base)

        async def text(token: str, **headers: str) -> str:
            status, issue, code, display, diagnostics = outcome(await ask(server, token, **headers))
            assert (status, issue, code, display) == (400, "value", "INVALID_VALUE", "Provided value is invalid")
            return diagnostics

        assert await text(provider.token(NURSE)) == (
            "multiple roles found in user info, please check NHSD-Session-URID"
        )
        assert await text(provider.token(ROLELESS)) == (
            "no userroles available, please check NHSD-Session-URID is valid"
        )
        assert await text(provider.token(NURSE), NHSD_Session_URID=GP_ROLE) == "NHSD-Session-URID is invalid"
        assert await text(provider.token()) == "nhsid_nrbac_roles is misconfigured/invalid"
        separate = provider.token("555000000201", client_id="app-viewer")
        assert await text(separate) == "selected_roleid is missing in your token"
        provider.userinfo_answer = _broken()
        assert await text(provider.token(NURSE, auth_time=2)) == "unable to retrieve user info"
        provider.userinfo_answer = None

        assert await text(provider.token(CLOSED), NHSD_Session_URID=CLOSED_ROLE) == "NHSD-Session-URID is invalid"
        told = json.loads((await ask(server, provider.token(NURSE), NHSD_Session_URID=NURSE_OTHER_ROLE)).body)
        assert told["role"]["activities"] == ["B0570"]
        told = json.loads((await ask(server, separate, NHSD_Session_URID="555000000202")).body)
        assert (told["role"]["job_role"], told["system"]["asid"]) == ("R8008", "200000000116")
        assert server.stop() == 0
        reasons = [row.content["reason"] for row in await audited(server)]
        assert reasons.count("role_closed") == 1
        assert len(reasons) == 7


def _broken() -> web.Response:
    return web.Response(status=502)


async def test_the_end_of_a_session_and_new_keys(start: Callable[..., Server]) -> None:
    """A logout token ends a session; one that does not count ends nothing; keys change while the service runs."""
    async with IdentityProvider() as provider:
        provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        server = start(demo=True, token_issuers=provider.base)
        token = provider.token()
        assert (await ask(server, token)).status == 200

        async def log_out(body: str, *headers: tuple[str, str]) -> int:
            return (await post(server.web, LOGOUT, body.encode(), headers or (FORM,))).status

        session = f"session-of-{GP}"
        assert await log_out(f"logout_token={provider.logout_token(session, aud='another')}") == 400
        assert await log_out(f"logout_token={provider.logout_token(session, nonce='n')}") == 400
        assert await log_out(f"logout_token={provider.token()}") == 400
        assert await log_out("logout_token=a&logout_token=b") == 400
        assert await log_out("logout_token") == 400
        assert await log_out("x" * 40_000) == 413
        assert await log_out("{}", ("Content-Type", "application/json")) == 415
        assert (await ask(server, token)).status == 200
        good = provider.logout_token(session)
        assert await log_out(f"logout_token={good}") == 200
        assert outcome(await ask(server, token)) == refused()
        assert await log_out(f"logout_token={good}") == 400

        other = provider.token(sid="the next session")
        assert (await ask(server, other)).status == 200
        assert server.stop() == 0
        rows = await audited(server)
        reasons = [row.content["reason"] for row in rows]
        assert "session_ended" in reasons
        assert "logout_token_replayed" in reasons
        assert [row.outcome for row in rows].count("AA") == 1
        nothing_kept_of([*provider.secrets, session + " "], server, rows)


async def test_a_gateway_in_front_and_an_application_in_a_hurry(start: Callable[..., Server]) -> None:
    """What a trusted gateway says is held to the token; the third request within a minute is one too many."""
    async with IdentityProvider() as provider:
        provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        server = start(
            demo=True, token_issuers=provider.base, trusted_gateways="127.0.0.1", rate_per_second=0, rate_per_minute=2
        )
        token = provider.token()
        told = {"NHSD_ASID": "200000000115", "NHSD_Identity_UUID": GP, "client_ip": "203.0.113.9"}
        answers = [await ask(server, token, **told) for _ in range(3)]
        while answers[-1].status == 200:
            # A minute of the clock had just begun: its first two requests are answered, and no third.
            assert len(answers) < 6
            answers.append(await ask(server, token, **told))
        assert outcome(answers[-1])[:3] == (429, "throttled", "TOO_MANY_REQUESTS")
        assert 1 <= int(answers[-1].header("retry-after") or "") <= 60

        for header, status, code in (
            ("NHSD_ASID", 403, "ASID_CHECK_FAILED"),
            ("NHSD_Identity_UUID", 401, "ACCESS_DENIED"),
        ):
            answer = await ask(server, token, **(told | {header: "200000000116"}))
            assert outcome(answer)[:3] == (status, "forbidden", code)
        assert server.stop() == 0
        rows = await audited(server)
        reasons = {row.content["reason"] for row in rows}
        assert reasons == {"rate_limit_exceeded", "asid_header_differs", "gateway_headers_differ"}
        assert {row.content["address"] for row in rows} == {"203.0.113.9"}


async def test_the_local_provider_signs_people_in_and_out(demo: Server) -> None:
    """Its tokens, roles and keys, over its own sign-in; after its logout the token is worth nothing."""
    printed = await command(demo.data, "identity", "token", "--at", demo.web, "--as", "app-gp", "--user", GP_ROLE)
    told = json.loads((await ask(demo, printed.strip())).body)
    assert (told["user_id"], told["role"]["role_profile_id"]) == (GP, GP_ROLE)
    assert "B8029" in told["role"]["activities"]

    exchanged = await command(
        demo.data, "identity", "token", "--at", demo.web, "--as", "app-gp", "--user", GP, "--exchange"
    )
    assert outcome(await ask(demo, exchanged.strip()))[4] == "selected_roleid is missing in your token"
    told = json.loads((await ask(demo, exchanged.strip(), NHSD_Session_URID=GP_ROLE)).body)
    assert told["role"]["role_profile_id"] == GP_ROLE

    weak = await command(
        demo.data, "identity", "token", "--at", demo.web, "--as", "app-gp", "--user", GP_ROLE, "--level", "1"
    )
    assert (await ask(demo, weak.strip())).status == 401

    json_header = ("Content-Type", "application/json")
    rotated = await post(demo.web, "/realms/cis2-mock/keys", b"{}", (json_header,))
    assert rotated.status == 200
    assert (await ask(demo, printed.strip())).status == 200

    asked = await post(demo.web, "/realms/cis2-mock/logout-tokens", json.dumps({"user": GP}).encode(), (json_header,))
    for token in json.loads(asked.body)["logout_tokens"]:
        body = f"logout_token={token}".encode()
        assert (await post(demo.web, "/oauth2/backchannel-logout", body, (FORM,))).status == 200
    assert (await ask(demo, printed.strip())).status == 401


# --- smartcards with SOAP -------------------------------------------------------------------------------------------


async def test_a_smartcard_token_vouches_for_the_author_of_a_message(start: Callable[..., Server]) -> None:
    """The author is whom the broker knows: accepted; somebody else, or a token that does not count: refused."""
    clock = Clock()
    clock.now = utc_now()
    async with SmartcardBroker(clock) as broker:
        server = start(demo=True, smartcard_url=broker.url)
        number = fresh_patient()
        gp = broker.issue("token-of-the-gp")
        other = broker.issue("token-of-another", user="555000000201", role="555000000199")
        bent = broker.issue("token-in-no-role", ssbSessionRoleUid="555000000302")

        async def set_consent(token: str | None) -> list[str]:
            change = PRACTICE.set_consent(number, Consent.NO).with_headers(SsoToken=token)
            read = read_acknowledgement(soap_of(await change.to(server.web), ACKNOWLEDGEMENT).interaction)
            return [issue.code for issue in read.outcome.issues]

        assert await set_consent(gp) == []
        assert broker.asked == ["token-of-the-gp"]
        for token in (other, bent, "token-of-nobody"):
            assert await set_consent(token) == ["420", "30418"]
        query = await PRACTICE.event_list(number).with_headers(SsoToken=bent).to(server.web)
        assert b"30418" in query.body
        soap_of(query, QUERY_FAILED)
        soap_of(await PRACTICE.get_consent(number).to(server.web), ACS_GET_ANSWER)

        assert server.stop() == 0
        rows = await audited(server)
        reasons = Counter(row.content.get("reason", "") for row in rows if row.outcome == "AE")
        assert reasons == {"author_mismatch": 1, "smartcard_role": 2, "smartcard_status": 1}
        nothing_kept_of([gp, other, bent, "token-of-nobody"], server, rows)


async def test_a_ticket_of_the_local_broker(demo: Server) -> None:
    """Signed in with a smartcard on the local provider's pages, a GP sets consent; its broker's signature holds."""
    arguments = ("identity", "sso-token", "--at", demo.web, "--user", GP_ROLE)
    ticket = (await command(demo.data, *arguments)).strip()
    number = fresh_patient()
    change = PRACTICE.set_consent(number, Consent.NO).with_headers(SsoToken=ticket)
    assert read_acknowledgement(soap_of(await change.to(demo.web), ACKNOWLEDGEMENT).interaction).outcome.accepted
    somebody_else = Client(PRACTICE.party_key, PRACTICE.asid, Person("555000000201", "555000000202", "R8008"))
    query = await somebody_else.event_list(number).with_headers(SsoToken=ticket).to(demo.web)
    soap_of(query, QUERY_FAILED)

    answer = await post(demo.web, f"/saml/RoleAssertion?token={quote(ticket, safe='')}", b"", (), method="GET")
    found = read_xml(answer.body).find(".//{*}X509Certificate")
    assert found is not None
    certificate = x509.load_der_x509_certificate(base64.b64decode(found.text or ""))
    read = read_role_assertion(answer.body, ticket, utc_now(), certificate=certificate, training=False)
    assert (read.user_id, read.role.role_profile_id) == (GP, GP_ROLE)
    forged = answer.body.replace(b"B0370", b"B0082")
    with pytest.raises(AssertionRefused):
        read_role_assertion(forged, ticket, utc_now(), certificate=certificate, training=False)


@pytest.mark.parametrize("name", ["rsa-1"])
def test_the_tests_own_keys_stay_private(name: str) -> None:
    """What the provider of these tests publishes cannot sign."""
    assert "d" not in key(name).as_dict(private=False)


async def test_strangers_do_not_fill_the_audit(start: Callable[..., Server]) -> None:
    """Whoever cannot be told is audited so often a minute, at either route that anybody may call; then it is logged."""
    server = start(demo=True)
    asked = request_bytes(SESSION, b"", [], method="GET")
    logout = request_bytes(LOGOUT, b"", [FORM])
    async with connected(server.web) as connection:
        for _ in range(STRANGERS_A_MINUTE):
            assert (await connection.exchange(asked)).status == 401
        for _ in range(20):
            assert (await connection.exchange(asked)).status == 401
            assert (await connection.exchange(logout)).status == 400
    rows = await audited(server)
    assert Counter(row.content["reason"] for row in rows) == {"token_missing": STRANGERS_A_MINUTE}
    assert server.log.read_text().count("further refusals of strangers in this minute are not audited") == 1
    token = (await command(server.data, "identity", "token", "--at", server.web, "--user", GP_ROLE)).strip()
    assert (await ask(server, token, NHSD_Session_URID="1")).status == 400
    assert Counter(row.content["reason"] for row in await audited(server))["role_not_of_user"] == 1


async def test_addresses_lead_nowhere_else(start: Callable[..., Server]) -> None:
    """Nobody is sent to the host that a request names; every answer of the face says that it is not to be guessed."""
    server = start(demo=True)
    for path in ("/oauth2/authorize/?client_id=app-gp", "/oauth2/sign-out/", "/readyz/", f"{SESSION}/"):
        answer = await post(server.web, path, b"", [("X-Forwarded-Host", "evil.test")], method="GET")
        assert (answer.status, answer.header("location")) == (404, None), path
    token = (await command(server.data, "identity", "token", "--at", server.web, "--user", GP_ROLE)).strip()
    answers = [await ask(server, token), await ask(server, None), await post(server.web, f"{SESSION}/x", b"", [])]
    answers.append(await post(server.web, LOGOUT, b"", [FORM]))
    for answer, status in zip(answers, (200, 401, 404, 400), strict=True):
        assert answer.status == status
        assert (answer.header("cache-control"), answer.header("x-content-type-options")) == ("no-store", "nosniff")
