"""The licence store: finds `*.lic` under the licence folder, and tells cheaply whether anything there has changed."""

import os
from typing import NamedTuple

from keyseat_verifier._internal.paths import LICENSES, shown

MAX_FILES = 10_000
MAX_FOLDERS = 1_000
MAX_DEPTH = 32
SUFFIX = ".lic"

Stamp = tuple[str, int, int, int, int] | tuple[str]
"""A path and what changes when it does: inode, size, modification and change time. A missing path is alone."""


class Found(NamedTuple):
    """The licence files, in a fixed order; what could not be looked at; a stamp of every folder and file."""

    files: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    stamps: tuple[Stamp, ...]


class Store:
    """The licence folder under a home folder. Reads nothing until asked."""

    __slots__ = ("folder",)

    def __init__(self, home: str) -> None:
        """Name the folder; it need not exist."""
        self.folder = os.path.join(home, LICENSES)

    def find(self) -> Found:
        """Look for licence files, recursively: symbolic links are followed, loops and second names are not.

        At most 10,000 files in at most 1,000 folders; what lies beyond is told as a problem, never silently left out.
        """
        search = _Search()
        try:
            os.stat(self.folder)
        except FileNotFoundError:
            search.stamps.append(stamp(self.folder))
        except OSError as error:  # out of reach is not empty: files may well be there
            search.stamps.append(stamp(self.folder))
            search.refuse(self.folder, error)
        else:
            search.visit(self.folder, 0)
        return Found(tuple(search.files), tuple(search.problems), tuple(search.stamps))


class _Search:
    def __init__(self) -> None:
        self.files: list[str] = []
        self.problems: list[tuple[str, str]] = []
        self.stamps: list[Stamp] = []
        self._seen: set[tuple[int, int]] = set()
        self._folders = 0

    def visit(self, folder: str, depth: int) -> None:
        if self._is_known(folder):
            return
        self._folders += 1
        if depth > MAX_DEPTH or self._folders > MAX_FOLDERS:
            self.problems.append((shown(folder), "too many folders: not looked into"))
            return
        self.stamps.append(stamp(folder))
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            kinds = [(entry.path, _is_folder(entry)) for entry in entries]
        except OSError as error:
            self.refuse(folder, error)
            return
        # Files first, so that a file is known by its shortest name (mounted volumes link to folders of their own).
        for path, is_folder in kinds:
            if not is_folder and path.lower().endswith(SUFFIX):
                self._take(path)
        for path, is_folder in kinds:
            if is_folder:
                self.visit(path, depth + 1)

    def refuse(self, folder: str, error: OSError) -> None:
        self.problems.append((shown(folder), f"cannot be looked into: {(error.strerror or 'unknown').lower()}"))

    def _take(self, path: str) -> None:
        if self._is_known(path):
            return
        if len(self.files) >= MAX_FILES:
            if len(self.files) == MAX_FILES and not any(reason.startswith("more than") for _, reason in self.problems):
                self.problems.append((shown(path), f"more than {MAX_FILES} licence files: the rest is not looked at"))
            return
        self.files.append(path)
        self.stamps.append(stamp(path))

    def _is_known(self, path: str) -> bool:
        try:
            status = os.stat(path)
        except OSError:
            return False  # reading it will say why
        identity = (status.st_dev, status.st_ino)
        # Windows gives no inode for some file systems.
        if identity in self._seen and status.st_ino:
            return True
        self._seen.add(identity)
        return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle: reading it as a file will say why
        return False


def stamp(path: str) -> Stamp:
    """Return what changes when a file or folder does."""
    try:
        status = os.stat(path)
    except OSError:
        return (path,)
    return (path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def unchanged(stamps: tuple[Stamp, ...]) -> bool:
    """Tell whether every path still has its stamp."""
    for known in stamps:  # noqa: SIM110 - a generator costs a tenth of a cached check
        if stamp(known[0]) != known:
            return False
    return True


_COARSE = 1_000_000_000
_COARSE_WAIT = 2_500_000_000
_FINE_WAIT = 50_000_000


def is_settled(stamps: tuple[Stamp, ...], at_ns: int) -> bool:
    """Tell whether a change after ``at_ns`` (nanoseconds since 1970) must show in the stamps.

    A file changed twice within one tick of its file system's clock keeps its stamp: 10 ms at most on usual ones
    (Linux: one jiffy), 2 s on FAT, whose times are whole seconds.
    """
    for known in stamps:
        for changed in known[3:]:
            wait = _FINE_WAIT if changed % _COARSE else _COARSE_WAIT
            if changed > at_ns - wait:
                return False
    return True
