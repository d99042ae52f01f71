"""Write the tables of all settings, ``docs/settings.md`` and ``docs/mhs-settings.md``, from the settings themselves.

Run ``python scripts/write_settings.py`` after a change of a setting; with ``--check`` nothing is written, and the exit
status says whether the files are current.
"""

import argparse
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from openscr.mhs import settings as mhs
from openscr.setting_sources import SourcedSettings, effective
from openscr.settings import FILE, PREFIX, SPEC_NAMES, Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"

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


MHS_HEAD = f"""\
# Settings of the MHS adaptor

A flag of `openscr mhs` beats the environment, that beats the file, that beats the default. The variables are those of
the NHS adaptor, with the same meaning, and some of our own beside them.

* In the environment a setting is a variable of the table below. One without text counts as not given.
* In a file it is the name in lower case and without the prefix: `outbound_server_port = 8081`. The file is
  `{mhs.FILE}` of the current folder, or that of `--config`: TOML, or YAML when it is called `.yaml` or `.yml`.
* Certificate, key and authorities are given once each: as text, as a file, or (certificate and key) in PKCS#12. They
  and the party key are all that must be set.
* A variable that begins with `{mhs.PREFIX}` and is not known is warned of at the start.

Some settings follow from others unless they are given: `MHS_INBOUND_QUEUE_BROKERS` without `MHS_QUEUE` means `amqp10`,
the queue of the NHS adaptor, and `MHS_WEBHOOK_URL` means `webhook`. Routes are looked up where an address is given:
`MHS_SPINE_ROUTE_LOOKUP_URL`, `MHS_SDS_API_URL`, `MHS_ROUTES_FILE`, `MHS_SDS_URL`, the first of these.

Letters and numbers in brackets are requirements and sections of the specification. Times are seconds and sizes bytes
unless the name says otherwise.

| variable | default | meaning |
| --- | --- | --- |
"""

MHS_WITHOUT_EFFECT = """
## Variables without effect

These variables of the NHS adaptor are accepted, do nothing, and are named once in the log at the start.

| variable | why, or what to do instead |
| --- | --- |
"""


def table() -> str:
    """Return the page: what it is about, and one row for each setting in the order of their declaration."""
    spec_names = {name: spec for spec, name in SPEC_NAMES.items()}
    rows = []
    for name, default, _ in effective(Settings()):
        spec = f"`{spec_names[name]}`" if name in spec_names else ""
        rows.append(f"| `{name}` | {_shown(default)} | {_meaning(Settings, name)} | {spec} |\n")
    return HEAD + "".join(rows)


def mhs_table() -> str:
    """Return the page of the adaptor: one row for each setting, and one for each variable that does nothing."""
    rows = []
    for name, default, _ in effective(mhs.MhsSettings(secret_party_key="required")):
        shown = "required" if mhs.MhsSettings.model_fields[name].is_required() else _shown(default)
        meaning = _meaning(mhs.MhsSettings, name) + _choices(mhs.MhsSettings, name)
        rows.append(f"| `{mhs.PREFIX}{name.upper()}` | {shown} | {meaning} |\n")
    idle = [f"| `{mhs.PREFIX}{name}` | {_escaped(why)} |\n" for name, why in mhs.WITHOUT_EFFECT.items()]
    return MHS_HEAD + "".join(rows) + MHS_WITHOUT_EFFECT + "".join(idle)


def _shown(default: str) -> str:
    return f"`{default}`" if default else "–"


def _meaning(settings: type[SourcedSettings], name: str) -> str:
    return _escaped(settings.model_fields[name].description or "")


def _choices(settings: type[SourcedSettings], name: str) -> str:
    annotation = settings.model_fields[name].annotation
    return (
        ": " + ", ".join(f"`{choice}`" for choice in get_args(annotation)) if get_origin(annotation) is Literal else ""
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the pages, or compare them. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    status = 0
    for name, text in (("settings.md", table()), ("mhs-settings.md", mhs_table())):
        page = DOCS / name
        if not check:
            page.write_text(text, "utf-8")
        elif not page.is_file() or page.read_text("utf-8") != text:
            print(f"docs/{name} is not current: run python scripts/write_settings.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
