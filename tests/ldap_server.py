"""A real LDAP server, OpenLDAP's slapd, on a loopback port with the schema of SDS and the entries of a test."""

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ldap3
import pytest

from openscr.directory.sds_schema import ROOT, write_schema

PATIENCE = 60
"""Seconds after which a server that does not come up is taken for lost."""

_PLACES = "/usr/sbin:/usr/local/sbin:/usr/local/libexec:/usr/libexec:/usr/bin"
_SCHEMAS = (Path("/etc/ldap/schema"), Path("/etc/openldap/schema"))


class LdapServer:
    """A running slapd that holds the entries of an LDIF file under ``o=nhs``. All may read, its owner may write."""

    def __init__(self, folder: Path, ldif: bytes, tls: tuple[Path, Path, Path] | None = None) -> None:
        program, schemas = _installed()
        self._folder = folder
        self._program = program
        self._password = secrets.token_hex(8)
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        folder.mkdir(parents=True)
        (folder / "database").mkdir()
        (folder / "sds.schema").write_text(write_schema())
        self._configuration = folder / "slapd.conf"
        self._configuration.write_text(self._configure(schemas))
        (folder / "entries.ldif").write_bytes(ldif)
        loaded = subprocess.run(
            [program, "-Ta", "-f", self._configuration, "-l", folder / "entries.ldif"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert loaded.returncode == 0, loaded.stderr

    def _configure(self, schemas: Path) -> str:
        lines = [f"include {schemas / name}.schema" for name in ("core", "cosine")]
        lines += [f"include {self._folder / 'sds.schema'}", f"pidfile {self._folder / 'slapd.pid'}"]
        modules = Path("/usr/lib/ldap")
        if (modules / "back_mdb.so").exists():
            lines += [f"modulepath {modules}", "moduleload back_mdb"]
        if self._tls is not None:
            names = ("TLSCertificateFile", "TLSCertificateKeyFile", "TLSCACertificateFile")
            lines += [f"{name} {path}" for name, path in zip(names, self._tls, strict=True)]
        lines += [
            # As public servers do: nobody gets more than this in one answer without asking for pages.
            "sizelimit size.soft=50 size.hard=50 size.pr=100 size.prtotal=unlimited",
            "database mdb",
            "maxsize 104857600",
            f'suffix "{ROOT}"',
            f'rootdn "cn=owner,{ROOT}"',
            f"rootpw {self._password}",
            f"directory {self._folder / 'database'}",
        ]
        return "\n".join(lines) + "\n"

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"{'ldaps' if self._tls else 'ldap'}://{'localhost' if self._tls else '127.0.0.1'}:{self.port}"

    def start(self) -> None:
        """Run the server, on the port that it had before if it ran already, and wait until it answers."""
        self.port = self.port or _free_port()
        scheme = "ldaps" if self._tls else "ldap"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-f", self._configuration, "-h", f"{scheme}://127.0.0.1:{self.port}", "-d", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        given_up = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < given_up
            else:
                return

    def stop(self) -> None:
        """End the server; its entries stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def dump(self) -> bytes:
        """Return everything that the server holds, as its own program writes it."""
        return subprocess.run(
            [self._program, "-Tcat", "-f", self._configuration], capture_output=True, check=True
        ).stdout

    def delete(self, dn: str) -> None:
        """Take an entry out while the server runs."""
        with self._owner() as owner:
            assert owner.delete(dn), owner.result

    def replace(self, dn: str, **attributes: str) -> None:
        """Give attributes of an entry another value while the server runs."""
        changes = {name: [(ldap3.MODIFY_REPLACE, [value])] for name, value in attributes.items()}
        with self._owner() as owner:
            assert owner.modify(dn, changes), owner.result

    @contextmanager
    def _owner(self) -> Iterator[ldap3.Connection]:
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE, use_ssl=self._tls is not None)
        connection = ldap3.Connection(server, f"cn=owner,{ROOT}", self._password, auto_bind=True)
        try:
            yield connection
        finally:
            connection.unbind()


@contextmanager
def ldap_server(folder: Path, ldif: bytes, tls: tuple[Path, Path, Path] | None = None) -> Iterator[LdapServer]:
    """Run a server for a test; skip it where there is none."""
    server = LdapServer(folder, ldif, tls)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _installed() -> tuple[str, Path]:
    program = shutil.which("slapd") or shutil.which("slapd", path=_PLACES)
    schemas = next((path for path in _SCHEMAS if path.is_dir()), None)
    if program is None or schemas is None:
        pytest.skip("OpenLDAP's slapd is not on this machine (Debian: slapd)")
    return program, schemas


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
