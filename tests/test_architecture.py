"""The house: a room imports only from floors below it, and imports where everybody can see it."""

import ast
import logging
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "openscr"
MODULES = sorted(SOURCES.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCES.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rooms() -> set[str]:
    """The rooms that the floors in pyproject.toml name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    floors = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return {room.strip(" ()") for floor in floors for room in floor.split("|")}


def test_the_floors_hold_against_the_real_imports(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    try:
        status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    finally:
        # It sets the standard library's logging up for itself, and silences every logger that is there already.
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_module_lives_in_a_room() -> None:
    """A module that no floor names would be under no rule."""
    # The doors: the package itself, and the corridor of the faces.
    doors = {"openscr", "openscr.__main__", "openscr.faces"}
    names = {module_name(path) for path in MODULES} - doors
    homeless = {name for name in names if not any(f"{name}.".startswith(f"{room}.") for room in rooms())}
    assert homeless == set()


def test_nothing_shipped_imports_the_rooms_that_are_for_tests_and_demos() -> None:
    """Only the composition root with its pages, the commands and the measurements know the testbench."""
    for path in MODULES:
        name = module_name(path)
        imported = {target for node in ast.walk(ast.parse(path.read_bytes())) for target in targets(node, name)}
        if not name.startswith(
            (
                "openscr.cli",
                "openscr.bench",
                "openscr.service",
                "openscr.demo_pages",
                "openscr.demo_adaptor",
                "openscr.testbench",
            )
        ):
            assert not [target for target in imported if target.startswith("openscr.testbench")], name
        if not name.startswith("openscr.testing"):
            assert not [target for target in imported if target.startswith("openscr.testing")], name


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_our_modules_are_imported_at_the_top_and_nowhere_else(path: Path) -> None:
    """Late imports hide circles. Commands may import late: each starts what it needs and no more."""
    name = module_name(path)
    if f"{name}.".startswith("openscr.cli."):
        return
    for function in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            late = [target for node in ast.walk(function) for target in targets(node, name)]
            assert late == [], f"{name}, line {function.lineno}"


def targets(node: ast.AST, importer: str) -> list[str]:
    """Return the modules of ours that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if f"{alias.name}.".startswith("openscr.")]
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return [f"{importer}.{'.' * node.level}{node.module or ''}"]
        if f"{node.module}.".startswith("openscr."):
            return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
