"""A streaming standby of a PostgreSQL server, which can take its place."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgres import PASSWORD, PATIENCE, USER, PostgresServer


@contextmanager
def standby_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Give a standby that the primary waits for: nothing is committed before both have it on disk."""
    folder = Path(tempfile.mkdtemp(prefix="openscr-standby-"))
    try:
        folder.chmod(0o755)
        standby = PostgresServer(folder, durable=True)
        standby.adopt_folder()
        standby.run(
            "pg_basebackup", "--pgdata", str(standby.data), "--wal-method", "stream", "--checkpoint", "fast",
            "--write-recovery-conf", "--no-sync", "--dbname", primary.url("postgres"),
        )  # fmt: skip
        standby.configure(standby.settings)
        standby.start()
        try:
            primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.sql("SELECT pg_reload_conf()")
            given_up = time.monotonic() + PATIENCE
            while primary.sql("SELECT sync_state FROM pg_stat_replication") != "sync":
                assert time.monotonic() < given_up, standby.log()
                time.sleep(0.02)
            yield standby
        finally:
            standby.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def two_addresses(primary: PostgresServer, standby: PostgresServer, database: str) -> str:
    """Return the URL of a database that leads to whichever of two servers takes writes."""
    password = PASSWORD.replace("/", "%2F")
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    return f"postgresql://{USER}:{password}@{hosts}/{database}?target_session_attrs=read-write"
