"""From the settings to a store, and engines that others have brought. Spec: 50 E1, E2."""

# Looking at small files does not keep anybody waiting here.
# ruff: noqa: ASYNC240

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.store.opening import BUILT_IN, GROUP, open_store
from openscr.mhs.store.postgres import PostgresMhsStore
from openscr.mhs.store.sqlite import SqliteMhsStore

from ..rig import settings
from .samples import a_message, an_id, put


async def test_without_a_setting_it_is_a_file_in_the_data_folder_which_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    store = open_store(settings(data=folder))
    assert isinstance(store, SqliteMhsStore)
    assert store.engine == "sqlite"
    await store.open()
    await put(store, a_message(1))
    assert await store.find_message(an_id(1)) == a_message(1)
    await store.close()
    assert [file.name for file in folder.iterdir()] == ["mhs.db"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_url_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (f"sqlite:///{tmp_path / 'absolute.db'}", "sqlite:///relative.db"):
        store = open_store(settings(store=url))
        await store.open()
        await store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["absolute.db", "relative.db"]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_names_a_database_of_a_server(scheme: str) -> None:
    store = open_store(settings(store=f"{scheme}://user:word@one:5432,two/adaptor?target_session_attrs=read-write"))
    assert isinstance(store, PostgresMhsStore)
    assert store.engine == "postgresql"


def test_memory_is_a_store_of_its_own() -> None:
    assert isinstance(open_store(settings(store="memory:")), MemoryStore)


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:///", "sqlite://host/x", "sqlite:///:memory:"])
def test_a_url_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///PATH"):
        open_store(settings(store=url))


@pytest.mark.parametrize("url", ["couchdb://host/name", "data/mhs.db", "nothing"])
def test_an_engine_that_nobody_has_brought_is_refused_with_those_there_are(url: str) -> None:
    with pytest.raises(ConfigurationError, match="memory, postgres, postgresql, sqlite"):
        open_store(settings(store=url))


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be made"):
        open_store(settings(data=tmp_path / "file" / "data"))


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install a distribution that brings two engines, of which one is broken; return the name of the good one."""
    metadata = tmp_path / "other_engine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-engine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[{GROUP}]\nothermade = other_engine_for_tests:open_it\nbroken = other_engine_for_tests:missing\n"
    )
    (tmp_path / "other_engine_for_tests.py").write_text(
        "from openscr.mhs.store.memory import MemoryStore\n"
        "class OtherStore(MemoryStore):\n    engine = 'othermade'\n"
        "def open_it(url, settings):\n    store = OtherStore()\n    store.url = url\n    return store\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "othermade"
    sys.modules.pop("other_engine_for_tests", None)


def test_an_engine_of_somebody_else_is_found_by_its_entry_point(plug_in: str) -> None:
    url = f"{plug_in}://host/name?option=1"
    store = open_store(settings(store=url))
    assert store.engine == plug_in
    assert store.url == url  # type: ignore[attr-defined]


@pytest.mark.usefixtures("plug_in")
def test_an_engine_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'broken'.*cannot be loaded"):
        open_store(settings(store="broken://host"))


def test_our_own_engines_are_entry_points_too() -> None:
    """Who lists what there is finds ours beside those of others."""
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    section = project.partition(f'[project.entry-points."{GROUP}"]')[2].partition("\n[")[0]
    named = {line.partition("=")[0].strip() for line in section.splitlines() if "=" in line}
    assert named == set(BUILT_IN)
