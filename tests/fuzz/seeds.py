"""Where the fuzzers begin: our own good messages, cut to what each target takes, and the kept corpus."""

from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

from openscr.directory.form import build_directory, read_directory
from openscr.directory.formats import write_as
from openscr.errors import WireError
from openscr.transport.mime import read_multipart

from .targets import TARGETS

MESSAGES: Final = Path(__file__).parent.parent / "messages"
CORPUS: Final = Path(__file__).parent / "corpus"

_INBOX: Final = (
    b'{"next": 2, "messages": [{"n": 1, "ref_to_message_id": "9E6B9F4C-7C7D-4C5F-8A3B-1E6C6D0C8F10", '
    b'"payload": "<a/>", "action": "MCCI_IN010000UK13"}]}'
)


_ASSERTION: Final = b".".join(
    urlsafe_b64encode(part).rstrip(b"=")
    for part in (
        b'{"alg":"RS512","typ":"JWT","kid":"a-key"}',
        b'{"iss":"app-gp","sub":"app-gp","aud":"http://127.0.0.1:8080/oauth2/token","jti":"1","exp":1795390000}',
        bytes(range(256)),
    )
)
_FORM: Final = (
    b"grant_type=authorization_code&client_id=app-gp&redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fback&code=x"
)

_SEARCH: Final = (
    b"organization=https://fhir.nhs.uk/Id/ods-organization-code%7CYES&identifier=https://fhir.nhs.uk/Id/"
    b"nhsServiceInteractionId%7Curn:nhs:names:services:psis:REPC_IN150016UK05"
    b"&identifier=https://fhir.nhs.uk/Id/nhsMhsPartyKey%7CYES-0000806"
)


def seeds(name: str) -> list[bytes]:
    """Return the good inputs of a target, always in the same order."""
    if name == "inbox":
        return [_INBOX, b'{"next": 0, "messages": []}']
    if name == "client_assertion":
        return [_ASSERTION]
    if name == "parameters":
        return [_FORM]
    if name == "directory_search":
        return [_SEARCH, b"user-role-id=https://fhir.nhs.uk/Id/nhsJobRoleCode%7C555000000102"]
    if name == "directory":
        world = build_directory(read_directory((MESSAGES / "directory.json").read_bytes()), 1)
        return [write_as(world, form, "https://spine.example/") for form in ("json", "ldap", "ldif")]
    target = TARGETS[name]
    paths = sorted({path for pattern in target.seeds for path in MESSAGES.glob(pattern)})
    assert paths, name
    found = [_cut(name, path) for path in paths]
    return [data for data in found if data]


def corpus(name: str) -> list[Path]:
    """Return the kept inputs of a target: each once made it fail, or stands for a kind that did."""
    return sorted((CORPUS / name).glob("*"))


def _cut(name: str, path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".http":
        return data
    head, _, body = data.partition(b"\r\n\r\n")
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    content_type = next((value.strip() for field, _, value in lines if field.lower() == b"content-type"), b"")
    if name == "mhs_inbound":
        return content_type + b"\n" + body
    if name == "mime":
        return content_type + b"\n" + body if content_type.startswith(b"multipart") else b""
    try:
        return read_multipart(content_type.decode(), body).root.content(body)
    except WireError:
        return body
