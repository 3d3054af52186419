"""Write the stability table into docs/machine-id.md, between its two marks.

    python tests/machine_trees/build_table.py

A test fails if the page differs from what this script writes.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "machine-id.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
WORDS = {
    "same": "✓ works",
    "other-machine": "✗ refused",
    "other-user": "✗ other user",
    "indeterminate": "? undecided",
    "no ID": "✗ no ID",
    "": "·",
}


def table() -> str:
    """Return the table as Markdown, each cell as the suite finds it."""
    sys.path.insert(0, str(HERE.parent / "support"))
    # Beside the tests, on no path of its own.
    from machine_stability import COLUMNS  # noqa: PLC0415
    from machine_table import cell, rows  # noqa: PLC0415

    lines = []
    for group, members in rows().items():
        lines += [
            f"### {group}",
            "",
            "| what happens | " + " | ".join(COLUMNS) + " |",
            "|---" * (len(COLUMNS) + 1) + "|",
        ]
        for title, change, _different, _usual in members:
            lines.append(f"| {title} | " + " | ".join(WORDS[cell(column, change)] for column in COLUMNS) + " |")
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with the table in its place."""
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
