"""`openscr mhs audit` and `openscr mhs verify`: what the adaptor's audit says, and whether it is whole.

Spec: 50 F22.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.audit import ask_number
from openscr.cli.console import fail, say, say_json
from openscr.cli.options import Json

if TYPE_CHECKING:
    from openscr.mhs.settings import MhsSettings
    from openscr.mhs.store.interface import Store

_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings, TOML or YAML; default mhs.toml.")
]
_Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The folder of the store.")]


def register(mhs: typer.Typer) -> None:
    """Add the commands."""
    mhs.command("audit", epilog="Example:  openscr mhs audit --data mhs-data")(audit)
    mhs.command("verify", epilog="Example:  openscr mhs verify --data mhs-data")(verify)


def audit(
    patient: Annotated[
        bool, typer.Option("--patient", help="Only records about one patient; asks for the NHS number.")
    ] = False,
    after: Annotated[int, typer.Option("--after", min=0, metavar="N", help="Only records after this number.")] = 0,
    data: _Data = None,
    config: _Config = None,
) -> None:
    """Print the audit: one JSON object for each record, in the order of the chain.

    Records name a patient by a keyed hash; [bold]--patient[/bold] finds them with the key of the settings. The number
    is asked for, or read from standard input: it stands in no command line.
    """
    settings = _settings(data, config)
    asyncio.run(_print(settings, ask_number() if patient else None, after))


async def _print(settings: "MhsSettings", number: str | None, after: int) -> None:
    from openscr.mhs.audit import patient_name_of

    name = patient_name_of(settings)(number) if number is not None else None
    async with _opened(settings) as store:
        async for row in store.read_audit(after):
            content = row.entry.content
            if name is None or content.get("patient") == name:
                at = row.entry.occurred_at.isoformat()
                say_json({"sequence": row.sequence, "occurred_at": at, **content, "hash": row.hash.hex()})


def verify(data: _Data = None, config: _Config = None, as_json: Json = False) -> None:
    """Prove that no record of the audit was changed, removed, added or moved; exits with 1 when one was."""
    count, broken = asyncio.run(_verify(_settings(data, config)))
    if as_json:
        say_json({"intact": broken is None, "records": count, "broken": broken})
    if broken is not None:
        fail(f"the audit is NOT intact: record {broken} does not fit the chain")
    if not as_json:
        say(f"the audit is intact: {count} records")


async def _verify(settings: "MhsSettings") -> tuple[int, int | None]:
    from openscr.errors import StoreError

    async with _opened(settings) as store:
        broken = await store.verify_audit()
        count = 0
        try:
            async for _ in store.read_audit():
                count += 1
        except StoreError:
            # A damaged record ends the count; what is wrong with it is known by now.
            if broken is None:
                raise
        return count, broken


def _settings(data: Path | None, config: Path | None) -> "MhsSettings":
    from openscr.mhs.settings import load_mhs_settings

    return load_mhs_settings({"data": data}, config=config, runs=False)


@asynccontextmanager
async def _opened(settings: "MhsSettings") -> "AsyncIterator[Store]":
    """Give the store that the settings name, open, but none that opening would only make."""
    from openscr.mhs.store.opening import open_existing

    store = open_existing(settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
