"""Makes the pictures of the documents: runs a command on a terminal of its own and draws what it showed as SVG.

Usage: python docs/pictures/make.py

Run by hand when the output changes: IDs, ports and times differ from run to run, so CI cannot compare the result.
"""

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 112
DEMO = "import sys; sys.argv = ['keyseat-issuer', 'demo']; from keyseat_issuer.cli import main; main()"


def shown(code: str) -> str:
    """Run Python code on a pseudo-terminal and return all that it wrote there, colours included."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-c", code])  # noqa: S606 - our own command
    written = b""
    try:
        while more := os.read(terminal, 65536):
            written += more
    except OSError:  # the other end was closed: the command has ended
        pass
    os.waitpid(pid, 0)
    return written.decode().replace("\r\n", "\n")


def draw(text: str, title: str, path: Path) -> None:
    """Write terminal output as SVG, without the web font that rich would fetch."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), soft_wrap=True)
    svg = console.export_svg(title=title)
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


def main() -> None:
    """Draw the demo, from the licence's issue to another user's refusal."""
    # A line that is redrawn shows its last state.
    lines = [line.rpartition("\r")[2] for line in shown(DEMO).split("\n")]
    first = next(n for n, line in enumerate(lines) if "Ada's seat becomes" in line)
    last = next(n for n, line in enumerate(lines) if "The same file for another product" in line)
    draw("\n".join(lines[first:last]), "keyseat-issuer demo", HERE / "demo.svg")


if __name__ == "__main__":
    main()
