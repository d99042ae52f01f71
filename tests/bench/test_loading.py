"""Stores filled without a service hold what a service would have put there. Spec: 90 §4 "bulk load"."""

import pytest

from openscr.bench.loading import Loader
from openscr.bench.patients import event_id_of, number_of
from openscr.client.profile import Profile
from openscr.directory.model import Directory
from openscr.identifiers import slot_of
from openscr.spine import EventStatus
from openscr.store.interface import PatientState, Store, Transaction
from store.conftest import opening, store  # noqa: F401 the engines of the contract

PATIENTS = 40


@pytest.fixture
def loader(store: Store, directory: Directory, profile: Profile, reference: bytes) -> Loader:  # noqa: F811
    return Loader(store, directory, profile, [reference])


async def patient(store: Store, position: int) -> tuple[PatientState, bytes]:  # noqa: F811
    number = number_of(position)

    async def read(transaction: Transaction) -> tuple[PatientState, bytes]:
        state = await transaction.read_patient(number)
        return state, await transaction.read_document(state.events[-1]) if state.events else b""

    return await store.transact(slot_of(number), read)


async def test_every_patient_has_all_versions_and_the_store_is_intact(store: Store, loader: Loader) -> None:  # noqa: F811
    told: list[int] = []
    await loader.load(PATIENTS, versions=2, progress=told.append)
    assert sum(told) == PATIENTS * 2
    for position in (0, 17, PATIENTS - 1):
        state, document = await patient(store, position)
        assert [(event.event_id, event.status) for event in state.events] == [
            (event_id_of(position, 1), EventStatus.REPLACED),
            (event_id_of(position, 2), EventStatus.NORMAL),
        ]
        assert number_of(position).encode() in document
        assert event_id_of(position, 2).encode() in document
    report = await store.verify()
    assert (report.faults, report.events, report.audit_rows) == ((), PATIENTS * 2, PATIENTS * 2)


async def test_a_load_that_was_cut_short_is_begun_again(store: Store, loader: Loader) -> None:  # noqa: F811
    await loader.load(10)
    await loader.load(20)
    report = await store.verify()
    assert (report.faults, report.events, report.receipts) == ((), 20, 20)


async def test_a_load_goes_on_where_another_one_ended(store: Store, loader: Loader) -> None:  # noqa: F811
    await loader.load(5, first=100, indexed=True)
    assert (await patient(store, 99))[0].events == ()
    assert len((await patient(store, 104))[0].events) == 1
    assert [entry.nhs_number for entry in await store.read_patients()] == sorted(number_of(p) for p in range(100, 105))
