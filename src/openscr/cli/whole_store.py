"""`openscr admin migrate --from --to`, `backup`, `restore`, and `verify` of a backup: a store as a whole.

Spec: 00 §4 ``admin``; engine.md "the four levels".
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import on_terminal, say, say_json
from openscr.cli.options import Data, Json, StoreUrl, Verbose, read_settings
from openscr.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from openscr.store.backup_file import Written
    from openscr.store.interface import ChainHead, VerifyReport
    from openscr.store.moving import Moved

    Advance = Callable[[str, int], None]


@contextmanager
def _progress(rows: int) -> "Iterator[Advance]":
    """Give what shows people how far each step of a long work is; nothing when nobody watches."""
    if not on_terminal():
        yield lambda _step, _rows: None
        return
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, transient=True) as progress:

        def advance(step: str, count: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step.capitalize(), total=rows)
            progress.advance(tasks[step], count)

        yield advance


# --- from one store to another ----------------------------------------------------------------------------------------


def move(source: str, target: str, *, as_json: bool) -> None:
    """Copy a store that nobody serves into another one, and say what was done. Raises: `ConfigurationError`."""
    moved = asyncio.run(_move(source, target))
    report = asyncio.run(_prove(target))
    _tell(moved, report, as_json=as_json, what="moved")


async def _move(source: str, target: str) -> "Moved":
    from openscr.store.copying import Access, opened_source, refuse_served
    from openscr.store.moving import fill
    from openscr.store.opening import whole_store

    original = whole_store(source, Access.ALONE)
    async with whole_store(target, Access.FILL) as copy, opened_source(original) as opened:
        if await original.identity() == await copy.identity():
            raise ConfigurationError("--from and --to name the same store; name another one to move to")
        await refuse_served(original, "the store that is to be moved")
        with _progress(opened.snapshot.rows) as advance:
            return await fill(opened, copy, advance)


async def _prove(store: str) -> "VerifyReport":
    """Bring the schema of a filled store up to date, and look at all that is in it."""
    from openscr.store.opening import open_store

    opened = open_store(store)
    await opened.open()
    try:
        return await opened.verify()
    finally:
        await opened.close()


def _tell(moved: "Moved", report: "VerifyReport", *, as_json: bool, what: str) -> None:
    if as_json:
        say_json(
            {
                "rows": moved.rows,
                "written": moved.written,
                "resumed": moved.resumed,
                "already_there": moved.already_there,
                "intact": report.intact,
                "events": report.events,
                "messages": report.receipts,
                "audit_rows": report.audit_rows,
                "faults": list(report.faults),
            }
        )
    else:
        if moved.already_there:
            say(f"everything was there already: {moved.rows} rows, each compared")
        elif moved.resumed:
            say(f"{moved.rows} rows {what}, {moved.written} of them now; each compared")
        else:
            say(f"{moved.rows} rows {what}, each compared")
        say(f"{report.events} events, {report.receipts} messages and {report.audit_rows} audit rows looked at")
        for fault in report.faults:
            say(f"  {fault}")
    if not report.intact:
        raise StoreError(
            f"the store is as it was, but it was NOT intact: {len(report.faults)} faults; see `openscr admin verify`"
        )
    if not as_json:
        say("the store is intact")


# --- backup and restore -----------------------------------------------------------------------------------------------


def backup(
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE|DIR", help="A new file, or the folder for one named by the time.")
    ],
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write everything that the store holds at one instant to one file, while the service runs.

    The file holds patients' records: keep it as safe as the store. Keys and certificates are not in it.
    """
    written = asyncio.run(_back_up(data, store, to))
    if as_json:
        say_json({"file": str(written.path), "bytes": written.size, "rows": written.rows})
    else:
        say(f"{written.rows} rows written to {written.path} ({written.size:,} bytes)")


async def _back_up(data: Path | None, store: str | None, to: Path) -> "Written":
    from openscr import __version__
    from openscr.identifiers import utc_now
    from openscr.store.backup_file import Head, write_backup
    from openscr.store.copying import Access, opened_source
    from openscr.store.opening import whole_store

    now = utc_now()
    path = to / f"openscr-{now:%Y%m%dT%H%M%SZ}.backup" if await asyncio.to_thread(to.is_dir) else to
    database = whole_store(read_settings(data, store).store, Access.SNAPSHOT)
    async with opened_source(database) as source:
        head = Head(made_at=now, program=__version__, engine=database.engine, snapshot=source.snapshot)
        with _progress(source.snapshot.rows) as advance:
            return await write_backup(source, head, path, lambda rows: advance("writing", rows))


def restore(
    source: Annotated[Path, typer.Option("--from", metavar="FILE", help="The backup.")],
    data: Data = None,
    store: Annotated[
        str | None, typer.Option("--store", "--to", metavar="URL", help="A new store; default in the data folder.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a new store of a backup, compare it with the backup row by row, and prove that it is intact.

    Stopped on its way, it goes on where it was when the same command is given again.
    """
    settings = read_settings(data, store)
    settings.make_data_folder()
    moved = asyncio.run(_restore(source, settings.store))
    report = asyncio.run(_prove(settings.store))
    _tell(moved, report, as_json=as_json, what="restored")


async def _restore(source: Path, target: str) -> "Moved":
    from openscr.store.backup_file import BackupFile
    from openscr.store.copying import Access
    from openscr.store.moving import fill
    from openscr.store.opening import whole_store

    with BackupFile(source) as opened:
        async with whole_store(target, Access.FILL) as database:
            with _progress(opened.snapshot.rows) as advance:
                return await fill(opened, database, advance)


# --- proof of a backup ------------------------------------------------------------------------------------------------


async def verify_file(path: Path, heads: "tuple[ChainHead, ...]", *, as_json: bool) -> "VerifyReport":
    """Prove that a backup is whole and that what it holds is intact, and say what it is of.

    Raises: `StoreError`, `ConfigurationError`.
    """
    from openscr.store.backup_file import BackupFile
    from openscr.store.backup_verification import verify_backup

    with BackupFile(path) as opened:
        with _progress(opened.snapshot.rows) as advance:
            report = await verify_backup(opened, heads, lambda rows: advance("checking", rows))
        head = opened.head
    if not as_json:
        say(
            f"backup of {head.made_at:%Y-%m-%d %H:%M:%S} UTC: {head.snapshot.rows} rows of a store on {head.engine},"
            f" schema {head.snapshot.revision}, made by openscr {head.program}"
        )
    return report
