"""PostgreSQL's own way back: a base backup and the log since, replayed up to a moment. docs/backup.md says how.

Spec: 90 §6.1.
"""

import time
from pathlib import Path

from openscr.store.checkpoint import make_checkpoint, read_checkpoint
from openscr.store.opening import open_store
from postgres import PATIENCE, PostgresServer, postgres_server

from .samples import NOON, find_receipt, upload
from .whole import contents, populate


def wait_for(server: PostgresServer, question: str, answer: str) -> None:
    """Wait until the server gives an answer."""
    given_up = time.monotonic() + PATIENCE
    while (given := server.sql(question)) != answer:
        assert time.monotonic() < given_up, f"{question}: {given}"
        time.sleep(0.05)


def restored(server: PostgresServer, base: Path, archive: Path, moment: str) -> PostgresServer:
    """Start a server from a base backup and the archived log, up to a moment."""
    again = PostgresServer(base.parent, programs_in=server.programs)
    again.data = base
    again.configure(
        {
            "port": str(again.port),
            "archive_mode": "off",
            "restore_command": f"cp {archive}/%f %p",
            "recovery_target_time": moment,
            "recovery_target_action": "promote",
        }
    )
    (base / "recovery.signal").touch()
    again.start()
    wait_for(again, "SELECT pg_is_in_recovery()", "f")
    return again


async def test_a_store_goes_back_to_a_moment_before_a_mistake() -> None:
    """Everything that was acknowledged until then is there, nothing later is, and the service goes on from there."""
    # A command of the server runs in its data folder.
    archiving = {"archive_mode": "on", "archive_command": "test ! -f ../archive/%f && cp %p ../archive/%f"}
    with postgres_server(settings={"full_page_writes": "on", **archiving}) as server:
        base, archive = server.folder / "base", server.folder / "archive"
        for folder in (server.folder, archive):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        url = server.create_database("openscr")
        store = open_store(url)
        await store.open()
        await populate(store, versions=1)
        server.run("pg_basebackup", "-d", server.url("postgres"), "-D", str(base), "--checkpoint", "fast")
        server.run("pg_verifybackup", str(base))
        await upload(store, 7001)
        before = await contents(url)
        heads = make_checkpoint(await store.audit_heads(), NOON).content
        moment = server.sql("SELECT clock_timestamp()")
        await upload(store, 7002)
        # The mistake.
        server.sql("DELETE FROM event; DELETE FROM audit", "openscr")
        assert not (await store.verify()).intact
        await store.close()
        last = server.sql("SELECT pg_walfile_name(pg_switch_wal())")
        question = f"SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver"  # noqa: S608  a name of the server's
        wait_for(server, question, "t")
        server.kill()

        again = restored(server, base, archive, moment)
        try:
            where = again.url("openscr")
            assert await contents(where) == before
            store = open_store(where)
            await store.open()
            assert await find_receipt(store, 7001) is not None
            assert await find_receipt(store, 7002) is None
            report = await store.verify(read_checkpoint(heads).heads)
            assert report.intact, report.faults
            await upload(store, 7002)
            assert (await store.verify()).intact
            await store.close()
        finally:
            again.stop()
