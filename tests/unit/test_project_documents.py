"""Documents of the project that lists in them must keep up with."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def test_the_index_of_decisions_names_every_one() -> None:
    listed = re.findall(r"\]\(([^)]+\.md)\)", (TOP / "docs/adr/README.md").read_text("utf-8"))

    assert sorted(path.name for path in (TOP / "docs/adr").glob("[0-9]*.md")) == listed


def test_every_document_that_a_document_links_to_is_there() -> None:
    broken = [
        f"{path.relative_to(TOP)}: {target}"
        for path in [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]

    assert [] == broken


def test_every_decision_that_the_change_log_names_is_there() -> None:
    named = {int(number) for number in re.findall(r"ADR (\d+)", (TOP / "CHANGELOG.md").read_text("utf-8"))}

    assert named <= {int(path.name[:4]) for path in (TOP / "docs/adr").glob("[0-9]*.md")}


THEIR_WORDS = r"License Management|Assign\s+(?:the one the  who can be)?License|Apache License|licenses nothing"
"""Titles of the vendor's own page, a licence's name, and the verb."""
TEMPLATES = sorted((TOP / "issuer").rglob("*.html"))
DOCUMENTS = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])


def american(prose: str) -> list[str]:
    """Return the nouns that are not spelled as everywhere else; names of files and identifiers are no prose."""
    return re.findall(
        r"(?<![\w/.-])(?:licenses?|organizations?)(?![\w-]|\.\w)", re.sub(THEIR_WORDS, "", prose), re.IGNORECASE
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_write_licence_and_organisation(path: Path) -> None:
    prose = re.sub(r"```.*?```|<!--.*?-->|`[^`\n]*`|\]\([^)]*\)", " ", path.read_text("utf-8"), flags=re.DOTALL)

    assert [] == american(prose)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_pages_write_licence_and_organisation(path: Path) -> None:
    prose = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}|<[^>]*>", "", path.read_text("utf-8"), flags=re.DOTALL)

    assert [] == american(prose)


@pytest.mark.parametrize("prose", ["Create license", "two Licenses", "an organization.", "License: none"])
def test_another_spelling_is_noticed(prose: str) -> None:
    assert american(prose)
    assert not american("License Management, `license`".replace("`license`", "license_id and ~/.keyseat/license"))


def test_every_document_that_the_code_names_is_there() -> None:
    code = [path for part in ("shared", "verifier", "issuer") for path in (TOP / part).rglob("*.py")]
    gone = [
        f"{path.relative_to(TOP)}: {named}"
        for path in code
        for named in re.findall(r"\bdocs/[\w/-]+\.md|\(design\b|\bADR \d+", path.read_text("utf-8"))
        if not (named.startswith("ADR") and list((TOP / "docs/adr").glob(f"{int(named[4:]):04}-*.md")))
        and not (TOP / named).is_file()
    ]

    assert [] == gone
