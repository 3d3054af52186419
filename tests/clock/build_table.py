"""Write the table of honest and dishonest clocks into docs/spec/clock.md, between its two marks.

    python tests/clock/build_table.py

A test fails if the page differs from what this script writes.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "spec" / "clock.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def table() -> str:
    """Return the two tables as Markdown, each cell as the verifier decides it."""
    sys.path.insert(0, str(HERE.parent / "support"))
    import clock_scenarios as clocks  # noqa: PLC0415 - beside the tests, on no path of its own

    def played(scenario: "clocks.Honest | clocks.Dishonest") -> "list[clocks.World]":
        return [clocks.play(scenario, counts_boots=counts_boots) for counts_boots in (True, False)]

    lines = ["| an honest machine's clock | refused although the clock is right |", "|---|---|"]
    for honest in clocks.HONEST:
        (refused,) = {machine.refused for machine in played(honest)}
        lines.append(f"| {honest.title} | {f'{refused} checks of {clocks.CHECKS_AFTER}' if refused else 'never'} |")
    lines += [
        "",
        "| a dishonest user's clock | Linux: used past the end | elsewhere | in the end |",
        "|---|---|---|---|",
    ]
    for dishonest in clocks.DISHONEST:
        linux, other = played(dishonest)
        most = clocks.MOST_DAYS * 3 * clocks.USE
        cells = [
            "without end" if machine.gained >= most else f"{machine.gained / clocks.HOUR:.0f} hours"
            for machine in (linux, other)
        ]
        lines.append(f"| {dishonest.title} | {' | '.join(cells)} | `{linux.last}` |")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with the tables in their place."""
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
