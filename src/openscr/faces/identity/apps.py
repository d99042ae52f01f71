"""The apps that may ask for tokens: who they are stands in the directory, what they know in a folder of their own.

For each app the folder holds ``<app>.json`` (client secret, redirect addresses, public keys) and ``<app>.key``, the
private key that belongs to the first public one: in a test environment the provider makes both, so that an integrator
can begin at once. They are made when an app is first looked at, and stay. The service reads them at every use, so
that a command may change them while it runs.

`app-noasid` has no system and no public key: with it the refusals can be tried that such apps meet.

Spec: 35 §4.3, §9.5.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import RSAKey

from openscr.directory.model import Directory
from openscr.errors import ConfigurationError
from openscr.faces.identity.refusals import OAuthRefusal
from openscr.faces.identity.signing import new_key
from openscr.identifiers import is_loopback

_log = structlog.get_logger("identity")

APPLICATION_SCOPES: Final = "urn:nhsd:apim:app:level3:"
USER_SCOPES: Final = "urn:nhsd:apim:user-nhs-id:"
APP_WITHOUT_SYSTEM: Final = "app-noasid"

_NAMES: Final = {APP_WITHOUT_SYSTEM: "Demo app without a system"}
SCOPES_WITHOUT_SYSTEM: Final = tuple(f"{USER_SCOPES}aal{level}:summary-care-record" for level in (2, 3))
_REDIRECTS: Final = ("http://127.0.0.1:8000/callback", "http://localhost:8000/callback")
"""Where an app that was not told otherwise gets its codes; the provider's own page for codes is always allowed too."""

_APP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class App:
    """An app: its client id, what it is called, the scopes it may have, its secret, redirect addresses, public keys."""

    client_id: str
    name: str
    scopes: tuple[str, ...]
    secret: str
    redirect_uris: tuple[str, ...]
    keys: tuple[RSAKey, ...]

    @property
    def application_scopes(self) -> tuple[str, ...]:
        """What the app may do by itself. Spec: 35 §4.3."""
        return tuple(scope for scope in self.scopes if scope.startswith(APPLICATION_SCOPES))

    def user_scopes(self, assurance_level: int) -> tuple[str, ...]:
        """Return what the app may do for a user who signed in at this level. Spec: 35 §4.3."""
        wanted = f":aal{assurance_level}:"
        return tuple(scope for scope in self.scopes if scope.startswith(USER_SCOPES) and wanted in scope)

    @property
    def signs_users_in(self) -> bool:
        """Whether the app has any scope for users."""
        return any(scope.startswith(USER_SCOPES) for scope in self.scopes)

    def key(self, kid: object) -> RSAKey | None:
        """Return the public key with this id."""
        return next((key for key in self.keys if key.kid == kid), None)


class AppRegister:
    """The apps of a directory, with what a folder knows of them.

    But for `look_up` everything here reads and writes files, and waits for them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def names(directory: Directory) -> tuple[str, ...]:
        """Return the client ids of all apps."""
        named = {system.app for system in directory.systems.values() if system.app and _APP.match(system.app)}
        return tuple(sorted(named | {APP_WITHOUT_SYSTEM}))

    async def look_up(self, directory: Directory, client_id: str) -> App | None:
        """Return an app for a request. Raises: `OAuthRefusal` (503) when its file cannot be read."""
        try:
            return await asyncio.to_thread(self.find, directory, client_id)
        except ConfigurationError as error:
            _log.warning("app not usable", reason=error.diagnostics)
            raise OAuthRefusal(503, "temporarily_unavailable", "What is known of the app cannot be read") from None

    def find(self, directory: Directory, client_id: str) -> App | None:
        """Return an app, or none when there is none of this name. Raises: `ConfigurationError`."""
        if client_id not in self.names(directory):
            return None
        system = directory.system_of_app(client_id)
        stored = self._stored(client_id)
        try:
            return App(
                client_id,
                (system.name if system is not None else "") or _NAMES.get(client_id, client_id),
                system.scopes if system is not None else SCOPES_WITHOUT_SYSTEM,
                str(stored["client_secret"]),
                tuple(map(str, stored["redirect_uris"])),
                tuple(RSAKey.import_key(key) for key in stored["keys"]),
            )
        except (KeyError, TypeError, ValueError, JoseError):
            raise ConfigurationError(
                f"identity: {self._path(client_id)} is damaged; remove it, and the app gets a new secret"
            ) from None

    def key_file(self, client_id: str) -> Path:
        """Return where the private key of an app lies, if the provider made one."""
        return self.folder / f"{client_id}.key"

    def register_keys(self, app: App, keys: Sequence[RSAKey]) -> None:
        """Let an app sign with these keys too. Raises: `ConfigurationError`."""
        kept = [key for key in app.keys if all(key.kid != new.kid for new in keys)]
        self._write(replace(app, keys=(*kept, *keys)))

    def register_redirect(self, app: App, address: str) -> None:
        """Let an app get its codes at this address too. Raises: `ConfigurationError` when no browser may go there."""
        check_redirect(address)
        self._write(replace(app, redirect_uris=tuple(dict.fromkeys((*app.redirect_uris, address)))))

    # --- files ------------------------------------------------------------------------------------------------------

    def _path(self, client_id: str) -> Path:
        return self.folder / f"{client_id}.json"

    def _stored(self, client_id: str) -> dict[str, Any]:
        path = self._path(client_id)
        try:
            if not path.exists():
                self._make(client_id)
            found = json.loads(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"identity: {path} cannot be used: {error.strerror}") from None
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    def _make(self, client_id: str) -> None:
        keys = []
        if client_id != APP_WITHOUT_SYSTEM:
            key = new_key()
            # Service and command may both be first: the key that is there counts.
            _write_file(self.key_file(client_id), key.as_pem(private=True), replace_old=False)
            keys.append(_own_key(self.key_file(client_id)))
        made = App(client_id, "", (), secrets.token_urlsafe(24), _REDIRECTS, tuple(keys))
        _write_file(self._path(client_id), _form(made), replace_old=False)

    def _write(self, app: App) -> None:
        try:
            _write_file(self._path(app.client_id), _form(app), replace_old=True)
        except OSError as error:
            raise ConfigurationError(
                f"identity: {self._path(app.client_id)} cannot be written: {error.strerror}"
            ) from None


def read_public_keys(data: bytes) -> tuple[RSAKey, ...]:
    """Read a public RSA key: a JWK, a JWK set or PEM; a private key gives its public half.

    Raises: `ConfigurationError` when it is none, or too short.
    """
    try:
        # The library warns of short keys, and would take them.
        with warnings.catch_warnings(action="error", category=SecurityWarning):
            if data.lstrip().startswith(b"{"):
                form = json.loads(data)
                read = [RSAKey.import_key(each) for each in form.get("keys", [form])]
            else:
                read = [RSAKey.import_key(data)]
    except SecurityWarning:
        raise ConfigurationError("identity: an RSA key has at least 2048 bits") from None
    except (JoseError, ValueError, TypeError, AttributeError):
        read = []
    public = [RSAKey.import_key(key.as_dict(private=False)) for key in read]
    if not public:
        raise ConfigurationError("identity: the file holds no RSA key as JWK, JWK set or PEM")
    for key in public:
        key.ensure_kid()
    return tuple(public)


def check_redirect(address: str) -> None:
    """Refuse an address that codes must not go to. Raises: `ConfigurationError`."""
    try:
        parts = urlsplit(address)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not parts.fragment
        good = good and parts.username is None and re.fullmatch(r"[!-~]+", address) is not None
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        good = secure = False
    if not good or not secure or re.search(r"[;,'\"<>\\]", address):
        raise ConfigurationError("identity: a redirect address is https, or http on loopback, without a fragment")


def _own_key(path: Path) -> RSAKey:
    key = RSAKey.import_key(path.read_bytes())
    key.ensure_kid()
    return key


def _form(app: App) -> bytes:
    keys = [key.as_dict(private=False, use="sig", alg="RS512", kid=str(key.kid)) for key in app.keys]
    form = {
        "client_id": app.client_id,
        "client_secret": app.secret,
        "redirect_uris": list(app.redirect_uris),
        "keys": keys,
    }
    return json.dumps(form, indent=2).encode()


def _write_file(path: Path, data: bytes, *, replace_old: bool) -> None:
    """Write a private file so that it is whole or absent; without ``replace_old`` one that is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if replace_old:
            Path(temporary).replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
    finally:
        Path(temporary).unlink(missing_ok=True)
