"""Rows of the outbox that change after they were read and before they are leased, as many writers let them."""

from dataclasses import replace
from typing import Any

import pytest

from openscr.store import postgres_outbox
from openscr.store.interface import Leasing
from openscr.store.opening import open_store
from postgres import PostgresServer

from .samples import an_outbox_row, append, at


async def test_who_comes_just_after_an_attempt_does_not_repeat_it(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that another worker takes, tries and gives back meanwhile waits for its next attempt."""
    url = postgres.create_database()
    one, two = (open_store(url, leasing=Leasing(holder)) for holder in ("here/1", "here/2"))
    await one.open()
    await two.open()
    await append(one, [an_outbox_row(1), an_outbox_row(2)])
    await one.withdraw("here/1")
    tried = replace(an_outbox_row(1), attempts=1, first_attempt_at=at(1), next_attempt_at=at(60), last_error="HTTP 500")
    read = postgres_outbox._longest_due

    async def read_and_be_late(*arguments: Any) -> list[Any]:
        found = await read(*arguments)
        monkeypatch.setattr(postgres_outbox, "_longest_due", read)
        assert len(await one.due_outbox(at(10), 10)) == 2
        assert await one.change_outbox(tried)
        await one.withdraw("here/1")
        return found

    monkeypatch.setattr(postgres_outbox, "_longest_due", read_and_be_late)
    assert await two.due_outbox(at(10), 10) == [an_outbox_row(2)]
    assert await two.due_outbox(at(60), 10) == [an_outbox_row(2), tried]
    await one.close()
    await two.close()
