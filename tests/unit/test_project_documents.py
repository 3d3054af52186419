"""Documents of the project that lists in them must keep up with."""

import re
from pathlib import Path

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
