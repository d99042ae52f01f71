"""Write the table of all settings, ``docs/settings.md``, from the settings themselves.

Run ``python scripts/write_settings.py`` after a change of a setting; with ``--check`` nothing is written, and the exit
status says whether the file is current.
"""

import argparse
import sys
from pathlib import Path

from openscr.setting_sources import effective
from openscr.settings import FILE, PREFIX, SPEC_NAMES, Settings

TARGET = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

HEAD = f"""\
# Settings

A flag of `openscr serve` beats the environment, that beats `{FILE}` (of the current folder, or of `--config`), that
beats the default. `openscr serve --show-config` prints every value in force and where it came from.

* In the environment a setting is `{PREFIX}` and its name in capitals: `{PREFIX}MAX_BODY_BYTES`.
* In `{FILE}` it is `max_body_bytes = 5242880`.
* A setting that the specification names differently is taken by that name too: `author.unknown` is `unknown = "accept"`
  in the table `[author]`, or `{PREFIX}AUTHOR_UNKNOWN`.

Numbers in brackets are sections of the specification. Durations are seconds, sizes bytes. Defaults are those of a live
service; where a demo differs, the meaning says so.

| setting | default | meaning | in the specification |
| --- | --- | --- | --- |
"""


def table() -> str:
    """Return the page: what it is about, and one row for each setting in the order of their declaration."""
    spec_names = {name: spec for spec, name in SPEC_NAMES.items()}
    rows = []
    for name, default, _ in effective(Settings()):
        meaning = (Settings.model_fields[name].description or "").replace("|", "\\|").replace("<", "&lt;")
        spec = f"`{spec_names[name]}`" if name in spec_names else ""
        shown = f"`{default}`" if default else "–"
        rows.append(f"| `{name}` | {shown} | {meaning} | {spec} |\n")
    return HEAD + "".join(rows)


def main() -> int:
    """Write the page, or compare it. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if not parser.parse_args().check:
        TARGET.write_text(table(), "utf-8")
        return 0
    current = TARGET.is_file() and TARGET.read_text("utf-8") == table()
    if not current:
        print("docs/settings.md is not current: run python scripts/write_settings.py", file=sys.stderr)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
