"""The README does what it says: its script runs, its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

from serving import DemoServer

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
PROGRAM = Path(sys.executable).with_name("openscr")


def test_the_script_of_the_readme_uploads_and_retrieves(demo_server: DemoServer, tmp_path: Path) -> None:
    """The Python block, run as it stands against a demo service, ends well and prints acknowledgement and record."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    assert len(blocks[0].strip().splitlines()) <= 25
    script = tmp_path / "script.py"
    script.write_text(blocks[0])
    ran = subprocess.run([sys.executable, str(script), demo_server.web], capture_output=True, text=True, check=True)
    assert "AA" in ran.stdout
    assert "NORMAL" in ran.stdout
    assert "General Practice Summary" in ran.stdout


def test_every_command_that_the_readme_shows_exists() -> None:
    """Each ``openscr …`` line of a shell block names a command that explains itself, and only options that it has."""
    lines = re.findall(r"^    (openscr [^#\n]*)", README, re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        words = line.split()[1:]
        if words == ["--help"]:
            continue
        command = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
        helped = subprocess.run([str(PROGRAM), *command, "--help"], capture_output=True, text=True, check=False)
        if helped.returncode:
            helped = subprocess.run([str(PROGRAM), *command[:1], "--help"], capture_output=True, text=True, check=True)
        for option in re.findall(r"--[a-z-]+", line):
            assert option in helped.stdout, line


def test_every_make_target_that_the_readme_shows_exists() -> None:
    """``make run``, ``make test`` and ``make bench`` are targets."""
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
