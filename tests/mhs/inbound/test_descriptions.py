"""What a description says of a file. Spec: 40 §6.6, 50 §3.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.mhs.inbound.descriptions import file_name_of, words_of

names = st.text(st.characters(exclude_characters='"\\', exclude_categories=("Cs",)), max_size=60)
bare_names = st.text(st.characters(exclude_characters='"\\ ', exclude_categories=("Cs",)), max_size=60)
others = st.lists(st.sampled_from(["ContentType=text/plain", "Compressed=Yes", 'DomainData="a: b"', "Length=42", "x"]))


@pytest.mark.parametrize(
    ("description", "name"),
    [
        (
            'Filename="277F29F1_LICENSE.txt" ContentType=text/plain Compressed=No LargeAttachment=No',
            "277F29F1_LICENSE.txt",
        ),
        (r"Filename=\"a b.txt\" ContentType=text/plain", "a b.txt"),
        ("ContentType=text/plain Filename=bare.txt", "bare.txt"),
        ('Filename="a=b=c.txt"', "a=b=c.txt"),
        ('Filename=""', ""),
        ('Filename="never closed ContentType=text/plain', "never closed ContentType=text/plain"),
        ('DomainData="Filename=inner.txt" Length=1', None),
        ('OriginalFilename="other.txt"', None),
        ("Filename", None),
        ("a letter of the hospital", None),
        ("", None),
    ],
)
def test_file_name(description: str, name: str | None) -> None:
    assert file_name_of(description) == name


@given(names, others, others)
def test_a_quoted_name_comes_back_whatever_stands_around_it(name: str, before: list[str], after: list[str]) -> None:
    assert file_name_of(" ".join([*before, f'Filename="{name}"', *after])) == name


@given(bare_names, others, others)
def test_a_bare_name_comes_back_up_to_the_next_blank(name: str, before: list[str], after: list[str]) -> None:
    assert file_name_of(" ".join([*before, f"Filename={name}", *after])) == name


@given(st.text())
def test_words_are_the_description_without_the_blanks_between_them_and_without_backslashes(description: str) -> None:
    words = list(words_of(description))
    assert all(words)
    text = description.replace("\\", "")
    assert "".join(words).replace(" ", "") == text.replace(" ", "")
    # A blank within a word stands within quotation marks.
    assert all('"' in word for word in words if " " in word)


def test_a_long_description_takes_time_in_proportion_to_its_length() -> None:
    """A pattern that goes back would not end."""
    assert len(list(words_of('"' * 1_000_001))) == 1
    assert file_name_of("a" * 2_000_000 + '"') is None
