"""docs/glossary.md: one word for one thing, and no other word for it in any public name."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from public_names import Name, all_names

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "glossary.md").read_text("utf-8")


class Entry(NamedTuple):
    """A row of the glossary: what it explains, and the words that are not used instead."""

    words: list[str]
    instead: list[str]


def entries() -> list[Entry]:
    """Return the rows of all tables."""
    rows = re.findall(r"^\| (\*\*.*?) \| .*? \|(?: (.*?))? \|$", TEXT, re.MULTILINE)
    return [
        Entry(re.findall(r"\*\*(.*?)\*\*", words), [word for word in instead.split(", ") if word])
        for words, instead in rows
    ]


def strangers(names: list[Name]) -> list[str]:
    """Return the names with a word that the glossary has another one for."""
    better = {word: entry.words[0] for entry in entries() for word in entry.instead}
    found = []
    for name in names:
        text = " ".join(name.words)
        found += [
            f"{name.kind} {name.text!r} of {name.place}: say {use!r}, not {word!r}"
            for word, use in better.items()
            if re.search(rf"\b{word}s?\b", text)
        ]
    return found


@pytest.fixture(scope="module")
def names() -> list[Name]:
    return all_names()


def test_no_public_name_uses_another_word(names: list[Name]) -> None:
    assert [] == strangers(names)


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("--slot", "seat"),
        ("slots_in_use", "seat"),
        ("MachineFingerprint", "machine ID"),
        ("/api/v1/tenants/{tenant_id}", "account"),
        ("Enter your activation code", "licence key"),
        ("LICENSE_TICKET", "seat"),
    ],
)
def test_another_word_is_noticed(text: str, better: str) -> None:
    found = strangers([Name(text, "option", "nowhere")])

    assert found
    assert all(f"say {better!r}" in line for line in found)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("command", "api-key"),
        ("command", "activate"),
        ("command", "machine-id"),
        ("option", "--accept-weak"),
        ("option", "--release-previous"),
        ("option", "--instance"),
        ("argument", "product"),
        ("summary", "Make, list and revoke API keys of programs."),
        ("JSON member", "expires_at"),
        ("JSON member", "machine_id"),
        ("Python name", "LicenseClient"),
        ("Python name", "passed_over"),
        ("Python name", "allow_example_keys"),
        ("route", "/api/v1/sessions"),
        ("route", "/api/v1/organizations/{organization_id}/seats"),
        ("route", "licenses/<str:product>/assign"),
        ("operation", "seats_list"),
        ("title", "License Management"),
        ("reason code", "QUOTA_EXCEEDED"),
    ],
)
def test_names_of_every_kind_are_looked_at(names: list[Name], kind: str, text: str) -> None:
    assert text in {name.text for name in names if name.kind == kind}


def test_a_word_is_explained_once() -> None:
    words = [word for entry in entries() for word in entry.words]

    assert sorted(set(words)) == sorted(words)
    assert not {word for entry in entries() for word in entry.instead} & set(words)


def test_every_word_is_in_use(names: list[Name]) -> None:
    written = " ".join(path.read_text("utf-8") for path in DOCS.rglob("*.md") if path.name != "glossary.md")
    used = f"{written} {' '.join(word for name in names for word in name.words)}".lower()

    assert [] == [word for entry in entries() for word in entry.words if word.lower() not in used]
