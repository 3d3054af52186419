"""Which rooms of the house an act enters, and in which order: every call of a function of ours, on every thread."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

TOP = Path(__file__).parents[2]
PACKAGES = {"keyseat_shared": "shared", "keyseat_verifier": "verifier", "keyseat_issuer": "issuer"}


class Walk:
    """The calls of an act in their order: file below the package's folder, and function."""

    def __init__(self) -> None:
        """Start at the door."""
        self.calls: list[tuple[str, str]] = []
        self._known: dict[str, str] = {}

    @property
    def rooms(self) -> list[str]:
        """The rooms in the order in which they were entered first."""
        return list(dict.fromkeys(room_of(file) for file, _ in self.calls))

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note a call, as a profile function."""
        if event != "call":
            return
        code = frame.f_code
        file = self._known.get(code.co_filename)
        if file is None:
            file = self._known[code.co_filename] = _ours(code.co_filename)
        if file and not code.co_name.startswith("<"):
            self.calls.append((file, code.co_name))


def room_of(file: str) -> str:
    """Return the folder of a module; the shared package is one room."""
    folder = file.rpartition("/")[0]
    return "keyseat_shared" if folder.startswith("keyseat_shared") else folder


def _ours(path: str) -> str:
    parts = Path(path).parts
    for package in PACKAGES:
        if package in parts:
            return "/".join(parts[parts.index(package) :])
    return ""


@contextlib.contextmanager
def walked() -> Iterator[Walk]:
    """Record what is called in the block: on this thread, and on threads that begin in it."""
    walk = Walk()
    threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
