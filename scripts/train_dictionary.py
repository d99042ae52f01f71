"""Train the compression dictionary that stored messages share.

Reads the example messages of the test suite, varies everything in them that differs from one real message to the next
(identifiers, times, numbers, names, doses, which entries a summary holds), and trains on the result, so that the
dictionary learns the forms of the protocol and not the content of the examples.

A dictionary is part of the format of stored data: a version that was released is never trained again, a better one
becomes the next version. Run: ``python scripts/train_dictionary.py VERSION``.
"""

import argparse
import random
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import zstandard

from openscr.identifiers import check_digit
from openscr.store.compression import DICTIONARY_FOLDER, LEVEL, dictionary_id

SEED = 20251111
SIZE = 48 * 1024
SUMMARIES = 700
SMALL_ROUNDS = 60
MESSAGES = Path(__file__).resolve().parents[1] / "tests" / "messages"

UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
HL7_TIME = re.compile(r'(?<=value=")20[0-9]{6}(?:[0-9]{6})?(?=")')
ISO_TIME = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
NHS_NUMBER = re.compile(r"(?<![0-9])999[0-9]{7}(?![0-9])")
SDS_ID = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")
PARTY_KEY = re.compile(r"[A-Z][0-9]{5}-[0-9]{6}")
CONCEPT = re.compile(r'code="[0-9]{6,18}"( codeSystem="[0-9.]+15") displayName="[^"]*"')
# Table heads and headings are few and fixed, so the dictionary may know them.
NARRATIVE = re.compile(r"(?<=>)(?<!<h2>)(?<!<th>)[A-Z][^<>]{5,}(?=<)")
ENTRY = re.compile(
    r"[ ]*<component typeCode=\"COMP\" contextConductionInd=\"true\">.*?\n[ ]{12}</component>\n", re.DOTALL
)

GIVEN = ("Ada", "Grace", "Alan", "Edith", "Joseph", "Mary", "Omar", "Priya", "Wei", "Zofia", "Samuel", "Ngozi")
FAMILY = ("Testwell", "Sample", "Example", "Trial", "Specimen", "Proof", "Pattern", "Model", "Draft", "Instance")
WORDS = (
    "one",
    "two",
    "three",
    "daily",
    "twice",
    "at",
    "night",
    "in",
    "the",
    "morning",
    "as",
    "required",
    "with",
    "food",
    "for",
    "seven",
    "days",
    "tablet",
    "capsule",
    "sachet",
    "puffs",
    "ml",
    "mg",
    "micrograms",
    "per",
    "dose",
    "oral",
    "topical",
    "history",
    "of",
    "acute",
    "chronic",
    "mild",
    "severe",
    "left",
    "right",
    "review",
    "due",
    "noted",
    "patient",
    "practice",
    "clinic",
    "follow",
    "up",
    "seen",
    "by",
    "normal",
    "range",
    "raised",
    "low",
    "declined",
    "given",
    "advice",
    "reaction",
    "date",
    "item",
)


def nhs_number(random_source: random.Random) -> str:
    """Return a valid number of the synthetic 999 range."""
    while True:
        digits = f"999{random_source.randrange(10**6):06}"
        if (check := check_digit(digits)) < 10:
            return f"{digits}{check}"


def vary(text: str, source: random.Random) -> str:
    """Replace what differs between messages; equal values of one message stay equal."""

    def consistently(make: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
        made: dict[str, str] = {}
        return lambda match: made.setdefault(match.group(), make(match.group()))

    def new_uuid(_: str) -> str:
        return str(uuid.UUID(int=source.getrandbits(128), version=4)).upper()

    def new_time(old: str) -> str:
        day = f"20{source.randrange(14, 30)}{source.randrange(1, 13):02}{source.randrange(1, 29):02}"
        return (day + f"{source.randrange(24):02}{source.randrange(60):02}{source.randrange(60):02}")[: len(old)]

    def new_iso_time(_: str) -> str:
        time = new_time("0" * 14)
        return f"{time[:4]}-{time[4:6]}-{time[6:8]}T{time[8:10]}:{time[10:12]}:{time[12:]}Z"

    def new_words(old: str) -> str:
        return " ".join(source.choices(WORDS, k=max(1, len(old) // 6))).capitalize()

    def new_concept(match: re.Match[str]) -> str:
        # Headings, document types and fixed codes stay; what a clinician picks does not.
        if "1000000" in match.group():
            return match.group()
        name = new_words("x" * source.randrange(12, 48))
        return f'code="{source.randrange(10**6, 10 ** source.randrange(8, 10))}"{match.group(1)} displayName="{name}"'

    for pattern, make in (
        (UUID, new_uuid),
        (ISO_TIME, new_iso_time),
        (HL7_TIME, new_time),
        (NHS_NUMBER, lambda _: nhs_number(source)),
        (SDS_ID, lambda old: old[:3] + f"{source.randrange(10**9):09}"),
        (
            PARTY_KEY,
            lambda _: f"{source.choice('ABCDEFGHJKLMNPY')}{source.randrange(10**5):05}-{source.randrange(10**6):06}",
        ),
        (NARRATIVE, new_words),
    ):
        text = pattern.sub(consistently(make), text)
    text = CONCEPT.sub(new_concept, text)
    text = re.sub(r"<given>[^<]*", lambda _: f"<given>{source.choice(GIVEN)}", text)
    return re.sub(r"<family>[^<]*", lambda _: f"<family>{source.choice(FAMILY)}", text)


def body_of(capture: bytes) -> str:
    """Return what follows the head of an HTTP capture."""
    return capture.partition(b"\r\n\r\n" if b"\r\n\r\n" in capture else b"\n\n")[2].decode()


def samples(source: random.Random) -> list[bytes]:
    """Return varied messages: uploads in their transport, withdrawals, consent, signals, answers, authors."""
    captures = {path.name[:2]: body_of(path.read_bytes()) for path in sorted((MESSAGES / "transport").glob("*.http"))}
    upload = captures["01"]
    start = upload.index("<REPC_IN150016UK05")
    before, after = upload[:start], upload[upload.index("</REPC_IN150016UK05>") + len("</REPC_IN150016UK05>") :]
    sources = [path.read_text("utf-8") for path in sorted((MESSAGES / "gp-summary").glob("0*.xml"))]
    wholes = [re.sub(r"<\?xml[^>]*\?>\s*", "", text) for text in sources]
    found: list[str] = []
    for _ in range(SUMMARIES):
        kept = source.random()
        summary = ENTRY.sub(
            lambda match, kept=kept: match.group() if source.random() < kept else "",  # type: ignore[misc]
            source.choice(wholes),
        )
        if source.random() < 0.4:
            summary = re.sub(r">\s+<", "><", summary)
        found.append(vary(before + summary + after, source))
    small = [captures[name] for name in ("02", "03", "04", "05", "06", "18")]
    small += [path.read_text("utf-8") for path in sorted((MESSAGES / "acs").glob("0[1-3]*.xml"))]
    small += [path.read_text("utf-8") for path in sorted((MESSAGES / "gp-summary").glob("ack-*.xml"))]
    small += [
        match.group() for text in wholes for match in re.finditer(r"<author typeCode.*?</author>", text, re.DOTALL)
    ]
    for _ in range(SMALL_ROUNDS):
        found += [vary(text, source) for text in small]
    source.shuffle(found)
    return [text.encode() for text in found]


def main() -> int:
    """Write the dictionary of the version that the command line names, unless it exists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=int)
    version = parser.parse_args().version
    target = Path(str(DICTIONARY_FOLDER / f"{version}.zdict"))
    if target.exists():
        print(f"version {version} exists; stored data may depend on it", file=sys.stderr)
        return 1
    # Sampling is not a matter of security: it must give the same dictionary every time.
    training = samples(random.Random(SEED))
    trained = zstandard.train_dictionary(
        SIZE, training, k=1024, d=8, dict_id=dictionary_id(version), level=LEVEL, threads=0
    )
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(trained.as_bytes())
    print(f"{target.name}: {len(trained.as_bytes())} bytes from {len(training)} messages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
