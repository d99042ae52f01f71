"""PostgreSQL's own way back: a base backup and the log since, replayed up to a moment. docs/backup.md says how.

Spec: 90 §6.1.
"""

import time
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError
from openscr.store.backup_file import BackupFile, Head, write_backup
from openscr.store.backup_verification import verify_backup
from openscr.store.checkpoint import make_checkpoint, read_checkpoint
from openscr.store.copying import Access, opened_source
from openscr.store.opening import open_store, whole_store
from postgres import PATIENCE, PostgresServer, postgres_server

from .samples import NOON, find_receipt, upload
from .whole import contents, populate


def wait_for(server: PostgresServer, question: str, answer: str) -> None:
    """Wait until the server gives an answer."""
    given_up = time.monotonic() + PATIENCE
    while (given := server.sql(question)) != answer:
        assert time.monotonic() < given_up, f"{question}: {given}"
        time.sleep(0.05)


def gone_back(server: PostgresServer, base: Path, archive: Path, moment: str) -> PostgresServer:
    """Start a server from a base backup and the archived log, replayed up to a moment, where it waits."""
    again = PostgresServer(base.parent, programs_in=server.programs)
    again.data = base
    again.configure(
        {
            "port": str(again.port),
            "archive_mode": "off",
            "restore_command": f"cp {archive}/%f %p",
            "recovery_target_time": moment,
        }
    )
    (base / "recovery.signal").touch()
    again.start()
    wait_for(again, "SELECT pg_get_wal_replay_pause_state()", "paused")
    return again


async def test_a_store_goes_back_to_a_moment_before_a_mistake(tmp_path: Path) -> None:
    """Everything that was acknowledged until then is there, nothing later is, and the service goes on from there.

    Before it does, one may look: a backup of what is there can be taken and proved.
    """
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

        again = gone_back(server, base, archive, moment)
        try:
            where = again.url("openscr")
            looking = f"{where}?target_session_attrs=any"
            assert await contents(looking) == before
            with pytest.raises(ConfigurationError, match="takes no writes"):
                await open_store(where).open()
            async with opened_source(whole_store(looking, Access.SNAPSHOT)) as source:
                head = Head(made_at=NOON, program="0.1.0", engine="PostgreSQL", snapshot=source.snapshot)
                await write_backup(source, head, tmp_path / "then.backup", lambda _rows: None)
            with BackupFile(tmp_path / "then.backup") as backup:
                report = await verify_backup(backup, read_checkpoint(heads).heads, lambda _rows: None)
                assert report.intact, report.faults

            again.sql("SELECT pg_wal_replay_resume()")
            wait_for(again, "SELECT pg_is_in_recovery()", "f")
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
