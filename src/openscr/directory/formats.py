"""The three forms of a directory file: ``openscr-directory/1``, LDIF, and LDAP entries as JSON.

Spec: 00 §6.3, 40 §11.1.
"""

import msgspec

from openscr.directory.form import read_directory, write_directory
from openscr.directory.ldap_json import read_ldap_json, write_ldap_json
from openscr.directory.ldif import read_ldif, write_ldif
from openscr.directory.model import Directory
from openscr.directory.sds_reading import SdsContent, read_sds
from openscr.directory.sds_writing import write_sds
from openscr.errors import ConfigurationError


class _Outline(msgspec.Struct):
    """What tells the two JSON forms apart."""

    format: msgspec.Raw = msgspec.Raw()
    entries: msgspec.Raw = msgspec.Raw()


def read_any(data: bytes) -> SdsContent:
    """Read a directory file of any of the forms; its content says which it is.

    Raises: `ConfigurationError` naming the line, the entry or the member. Spec: 00 §6.3.
    """
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        content = read_sds(read_ldif(data))
    elif _is_ldap_json(data):
        content = read_sds(read_ldap_json(data))
    else:
        return SdsContent(read_directory(data))
    if not content.entries:
        raise ConfigurationError("directory, whole file: it holds no entry of SDS (nhsAs, nhsMhs, nhsPerson …)")
    return content


def _is_ldap_json(data: bytes) -> bool:
    try:
        outline = msgspec.json.decode(data, type=_Outline)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return not bytes(outline.format) and bool(bytes(outline.entries))


def write_as(directory: Directory, form: str, origin: str) -> bytes:
    """Write a directory as ``json``, ``ldap`` or ``ldif``.

    ``origin`` is the URL below which the own party's paths lie, for the forms of LDAP. Spec: 00 §6.3.
    """
    if form == "json":
        return write_directory(directory)
    entries = write_sds(directory, origin)
    return write_ldif(entries) if form == "ldif" else write_ldap_json(entries)
