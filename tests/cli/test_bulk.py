"""The pace of a bulk upload, its order, and its journal, without a service."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.cli.bulk import Bulk, Item, Pace
from openscr.cli.upload_journal import Fate, Journal
from openscr.client import Posting
from openscr.errors import AccessRefused, ConfigurationError, DeliveryError
from openscr.spine import AckType, Outcome

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


class HandClock:
    """A clock that goes on only when somebody sleeps, or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@given(st.floats(0.5, 500), st.lists(st.floats(0, 2), min_size=2, max_size=30))
def test_every_message_is_due_at_its_time_whatever_the_answers_take(rate: float, work: list[float]) -> None:
    clock = HandClock()
    pace = Pace(rate, clock, clock.sleep)
    free = clock.now
    for number, seconds in enumerate(work):
        pace.wait()
        assert clock.now == pytest.approx(max(100.0 + number / rate, free))
        clock.now += seconds
        free = clock.now


def test_without_a_rate_nothing_waits() -> None:
    clock = HandClock()
    pace = Pace(None, clock, clock.sleep)
    pace.wait()
    pace.wait()
    assert clock.now == 100.0


def item(name: str, patient: str, seen: list[Any], result: Any = None, *, stored: bool = False) -> Item:
    def send(_client: Any, posting: Posting) -> Outcome | None:
        seen.append((name, posting))
        if isinstance(result, Exception):
            raise result
        return Outcome() if result is None else result

    return Item(name, patient, name.encode(), send, lambda _client: stored)


def run(path: Path | None, items: list[Item], **options: Any) -> Any:
    with Journal(path, "to nobody") as journal:
        return Bulk(None, journal, Pace(None), **options).run(items, None)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from("abcdefg"), max_size=60), st.integers(1, 8))
def test_each_patient_s_messages_go_in_their_order_on_any_number_of_lanes(patients: list[str], parallel: int) -> None:
    seen: list[Any] = []
    items = [item(f"{number}", patient, seen) for number, patient in enumerate(patients)]
    assert run(None, items, parallel=parallel).accepted == len(patients)
    for patient in set(patients):
        sent = [int(name) for name, _ in seen if patients[int(name)] == patient]
        assert sent == sorted(sent)
    assert len(seen) == len(patients)


def test_an_unanswered_message_keeps_its_id_and_its_time(tmp_path: Path) -> None:
    path, seen = tmp_path / "journal", []
    lost = DeliveryError("no application acknowledgement came within 60 s")
    assert run(path, [item("a", "p", seen, lost)]).unanswered == 1
    assert run(path, [item("a", "p", seen)]).accepted == 1
    first, second = (posting for _, posting in seen)
    assert (first.message_id, first.at) == (second.message_id, second.at)
    assert (first.again, second.again) == (False, True)


def test_a_changed_file_is_another_message(tmp_path: Path) -> None:
    path, seen = tmp_path / "journal", []
    run(path, [item("a", "p", seen, DeliveryError("lost"))])
    changed = item("a", "p", seen)
    run(path, [Item("a", "p", b"changed", changed.send, changed.stored)])
    assert seen[0][1].message_id != seen[1][1].message_id
    assert not seen[1][1].again


def test_when_the_answer_is_lost_for_good_the_record_itself_is_asked(tmp_path: Path) -> None:
    path, seen, lost = tmp_path / "journal", [], DeliveryError("lost")
    assert run(path, [item("a", "p", seen, lost, stored=True)]).unanswered == 1
    assert run(path, [item("a", "p", seen, lost, stored=True)]).accepted == 1
    assert run(path, [item("a", "p", seen)]).skipped == 1


def test_a_refused_message_is_tried_again_as_another_one_and_only_when_asked(tmp_path: Path) -> None:
    path, seen = tmp_path / "journal", []
    refused = Outcome(AckType.ERROR)
    assert run(path, [item("a", "p", seen, refused)]).refused == 1
    assert run(path, [item("a", "p", seen, refused)]).refused_before == 1
    assert run(path, [item("a", "p", seen, DeliveryError("lost"))], retry_refused=True).unanswered == 1
    assert run(path, [item("a", "p", seen)]).accepted == 1
    first, second, third = (posting for _, posting in seen)
    assert first.message_id != second.message_id == third.message_id
    # The HL7 id has to be another one too, and the same whenever the message is made.
    assert (first.wrapper_id, second.wrapper_id, third.wrapper_id) == ("", second.message_id, second.message_id)


@pytest.mark.parametrize(
    ("error", "sent"), [(AccessRefused("not ours"), 1), (DeliveryError("away"), 5)], ids=["refused", "away"]
)
def test_nothing_more_is_sent_to_a_service_that_takes_nothing(error: Exception, sent: int) -> None:
    seen: list[Any] = []
    tally = run(None, [item(str(number), "p", seen, error) for number in range(40)])
    assert (len(seen), tally.unanswered, bool(tally.stopped)) == (sent, sent, True)
    assert tally.failed


def test_a_mistake_of_ours_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run(None, [item("a", "p", [], ZeroDivisionError()), *(item(str(n), "p", []) for n in range(30))])


@given(st.data())
def test_a_journal_cut_anywhere_is_read_up_to_its_last_whole_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    with Journal(path, "s") as journal:
        for name in "abc":
            journal.sending(name, "M", AT, "d", retry=False)
            journal.ended(name, Fate.ACCEPTED)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    told = [json.loads(line) for line in whole[:cut].splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    with Journal(path, "s") as journal:
        for name in "abc":
            fates = [line["fate"] for line in told if line["name"] == name]
            note = journal.find(name)
            assert (note.fate.value if note else None) == (fates[-1] if fates else None)
        journal.ended("d", Fate.REFUSED, "420")
    with Journal(path, "s") as journal:
        note = journal.find("d")
        assert note is not None
        assert note.code == "420"


def test_two_uploads_do_not_share_a_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "s"), pytest.raises(ConfigurationError, match="another upload"):
        Journal(tmp_path / "journal", "s").__enter__()
