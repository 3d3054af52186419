"""Writes the index of the decisions (README.md) from their first lines: ``python docs/adr/build.py``."""

from pathlib import Path

HERE = Path(__file__).parent
HEAD = """# Decisions

Why things are as they are: context, options, decision, consequences. A decision that replaces another one says so.
Numbers are never used again; gaps belong to nothing.

| number | decision |
|---|---|
"""


def main() -> None:
    """Write the index."""
    rows = []
    for path in sorted(HERE.glob("[0-9]*.md")):
        number, _, title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
        rows.append(f"| {number} | [{title}]({path.name}) |\n")
    (HERE / "README.md").write_text(HEAD + "".join(rows), "utf-8")


if __name__ == "__main__":
    main()
