"""Handing out licence files: their names, and writing them so that no reader sees half of one and none is overwritten.

The ledger is the truth and holds every file's bytes; what is written here can always be written again.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keyseat_issuer.causes import Cause
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import PREFIX
from keyseat_shared.writing import place_new, sync_folder, write_new

SUFFIX = ".lic"
_PART = ".part"
_MODE = 0o644
_PART_NAME = re.compile(r"\.([0-9a-f-]{36})-[0-9]+\.part")


def file_stem(product: str, machine_id: str) -> str:
    """Return the name of a licence file without its ending: the product and the first ten symbols after ``mid1``."""
    head = len(PREFIX) + 1
    return f"{product}_{machine_id[head : head + 10]}"


@dataclass(slots=True)
class Destination:
    """Where licence files go: a folder (each file gets a name of its own) or one named file.

    Made by ``check_destination`` before anything irreversible. A folder keeps in mind which names it gave out, so
    that two licences of one machine get two files.
    """

    folder: Path
    name: str | None
    taken: set[str] = field(default_factory=set)

    def sweep(self, idents: set[str]) -> None:
        """Remove temporary files that a killed run left behind for these licences.

        Raises:
            KeyseatError: ``UNREADABLE``.
        """
        try:
            names = os.listdir(self.folder)  # noqa: PTH208 - names only
        except OSError as error:
            raise _cannot_write(self.folder, error) from None
        for name in names:
            found = _PART_NAME.fullmatch(name)
            if found and found[1] in idents:
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()

    def write(self, stem: str, data: bytes, *, ident: str, sync: bool = True) -> str:
        """Write one file and return its path; a file that is already there with the same bytes is left alone.

        Args:
            stem: the file's name without its ending, used in a folder.
            data: the licence file.
            ident: the licence's id; names the temporary file, so that `sweep` knows it after a crash.
            sync: wait until the file is on the disk; batches leave that to the system.

        Raises:
            KeyseatError: ``ALREADY_EXISTS`` where the named file holds something else, ``UNREADABLE`` where it cannot
                be written.
        """
        # The process id keeps two runs that hand out one licence from writing into each other's temporary file.
        part = f"{self.folder}{os.sep}.{ident}-{os.getpid()}{_PART}"
        try:
            try:
                write_new(part, data, _MODE, sync=sync)
                path = self._place(part, stem, data)
            finally:
                _remove(part)
            if sync:
                sync_folder(self.folder)
        except OSError as error:
            raise _cannot_write(self.folder, error) from None
        return path

    def _place(self, part: str, stem: str, data: bytes) -> str:
        for name in [self.name] if self.name is not None else _numbered(stem):
            if name in self.taken:
                continue
            path = f"{self.folder}{os.sep}{name}"
            if place_new(part, path) or _holds(path, data):
                self.taken.add(name)
                return path
        raise _exists(self.folder / (self.name or stem))


def check_destination(out: Path | None, *, must_be_folder: bool = False, may_exist: bool = False) -> Destination:
    """Find out before anything irreversible that files can be written there; a missing folder of a batch is made.

    Args:
        out: a folder, or a file that does not exist yet; ``None`` means the current directory.
        must_be_folder: many files go there.
        may_exist: the named file may be there, if it holds the very bytes that are handed out again.

    Raises:
        KeyseatError: ``UNREADABLE`` where nothing can be written there, ``ALREADY_EXISTS`` where the file exists.
    """
    place = out if out is not None else Path()
    try:
        if must_be_folder:
            place.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            destination = Destination(place, None)
        elif not may_exist and (place.exists() or place.is_symlink()):
            raise _exists(place)
        else:
            destination = Destination(place.parent, place.name)
        probe = f"{destination.folder}{os.sep}.keyseat-{secrets.token_hex(8)}{_PART}"
        # Only writing tells: permission bits say little for root, on read-only mounts and full disks.
        try:
            write_new(probe, b"\n", _MODE, sync=False)
        finally:
            _remove(probe)
    except OSError as error:
        raise _cannot_write(place, error) from None
    return destination


def _remove(part: str) -> None:
    # Batches come here a thousand times: pathlib would cost a fifth of a signature, and `suppress` as much as the call.
    try:  # noqa: SIM105 - as said above
        os.unlink(part)  # noqa: PTH108 - as above
    except OSError:
        pass


def _holds(name: str, data: bytes) -> bool:
    path = Path(name)
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(data) + 1) == data


def _numbered(stem: str) -> Iterator[str]:
    yield stem + SUFFIX
    for number in range(2, 100_000):
        yield f"{stem}-{number}{SUFFIX}"


def _exists(path: Path) -> KeyseatError:
    return KeyseatError(
        ReasonCode.ALREADY_EXISTS,
        f"{str(path)!r} exists and is not overwritten",
        cause=Cause.FILE_EXISTS,
    )


def _cannot_write(place: Path, error: OSError) -> KeyseatError:
    return KeyseatError(
        ReasonCode.UNREADABLE,
        f"cannot write to {str(place)!r}: {error.strerror}",
        cause=Cause.FILE_NOT_WRITABLE,
    )
