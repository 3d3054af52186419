"""The process's output streams, which may be closed, full, or read by nobody any more."""

import sys


def tell(text: str) -> None:
    """Write for people on stderr. Where it cannot be written, as on a full disk, the exit code still counts."""
    try:
        sys.stderr.write(text)
    except OSError:  # `main` lets go of it
        return


def open_closed_streams() -> None:
    """Write to nowhere where a stream was closed at the start (`keyseat ... >&-`): the exit code still counts."""
    import os

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the end


def let_go_of(name: str) -> None:
    """Point a stream whose reader has gone (`keyseat ... | head`) or whose disk is full at nowhere, before the exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())
