"""Local parallel sessions, counted with operating-system file locks: a slot is free the moment its holder is gone.

A licence for n sessions has n slots, the files ``sessions/<license id>/<n>.lock``. The kernel drops a lock when the
process ends, however it ends, so nothing has to be cleaned up and no process list is believed.

Slots are counted in several folders at once (`session_folders`), and a slot is free only if none of them says that it
is taken: the account's own place is one for all homes, and a home can be one for several containers, or hold an older
client's sessions.
"""

import contextlib
import errno
import os
import stat
import sys
import weakref
from typing import NamedTuple

from keyseat_verifier._internal.account_place import account_place
from keyseat_verifier._internal.paths import PRIVATE_FILE, SESSIONS, make_private

if sys.platform == "win32":
    import msvcrt

    _AT = 1 << 20  # a byte far behind the content: Windows locks hinder reading, and the content names the holder

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _AT, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _AT, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        # flock(2), not fcntl(2): those would be lost when any other code of the process closes the same file.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


# O_NONBLOCK: opening a device could wait, though only a file will do.
_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_PASSES = 2  # `in_use` holds a free slot for an instant; a second look does not take that for a session


class Slots(NamedTuple):
    """The slots of one licence on this machine: its id, and how many sessions it allows."""

    license_id: str
    sessions: int


class Holder(NamedTuple):
    """A slot in use: the licence, the slot's number from 1, and the process id of its holder (0 where unknown)."""

    license_id: str
    number: int
    pid: int


class SlotLock:
    """One slot held by this process. ``release`` gives it back; so does the end of the process.

    A forked child does not hold its parent's slot: it lets go of the inherited lock at once, which leaves the parent's
    in place.
    """

    __slots__ = ("__weakref__", "_descriptor", "_others", "_owner", "license_id", "number")

    def __init__(self, license_id: str, number: int, descriptor: int) -> None:
        self.license_id = license_id
        self.number = number
        self._descriptor = descriptor
        self._others: tuple[SlotLock, ...] = ()
        self._owner = os.getpid()
        _HELD.add(self)

    def join(self, others: "tuple[SlotLock, ...]") -> None:
        """Take the locks of the same slot in other folders along: they are given back together."""
        self._others = others

    @property
    def is_held(self) -> bool:
        """Whether this process still holds the slot."""
        return self._descriptor >= 0

    def write_holder(self) -> None:
        """Write this process's id into the files, for those who find the slot taken.

        Only people read it: where it cannot be written, as on a full disk, the lock counts all the same.
        """
        for other in self._others:
            other.write_holder()
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, b"%d\n" % os.getpid())

    def is_of(self, path: str) -> bool:
        """Tell whether this is the lock of the file at ``path``, by whatever name it was opened."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(path))
        except OSError:
            return False

    def release(self) -> None:
        """Give the slot back; a second call does nothing."""
        for other in self._others:
            other.release()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        # Parent and child share the lock until the child has closed its copy: the owner unlocks for both, at once,
        # and the child must not unlock what its parent still holds.
        if os.getpid() == self._owner:
            _unlock(descriptor)
        os.close(descriptor)

    def __del__(self) -> None:
        self.release()


# The kernel keeps locks per process, so the list of what a forked child must let go of is per process too.
_HELD: "weakref.WeakSet[SlotLock]" = weakref.WeakSet()


def _let_go_in_child() -> None:
    for held in list(_HELD):
        held.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def session_folders(home: str) -> tuple[str, ...]:
    """Return the folders where sessions are counted: the account's own, which no environment moves, and the home's."""
    own = account_place()
    return (*([os.path.join(own, SESSIONS)] if own else []), os.path.join(home, SESSIONS))


def take_slot(folders: tuple[str, ...], licenses: tuple[Slots, ...]) -> SlotLock | None:
    """Take the first free slot of the licences in their order, or return ``None`` where all are in use.

    Args:
        folders: where slots are counted. The first that can be used decides; the others must not say "taken".
        licenses: the licences.

    Raises:
        OSError: where no lock file can be made: without them sessions cannot be counted.
    """
    trouble: OSError | None = None
    for _ in range(_PASSES):
        trouble = None
        for license_id, sessions in licenses:
            usable = _make(folders, license_id)
            for number in range(1, sessions + 1):
                try:
                    held = _try(usable, license_id, number)
                except OSError as error:  # one bad file: the other slots are as good as before
                    trouble = error
                    continue
                if held is not None:
                    held.write_holder()
                    return held
    if trouble is not None:
        raise trouble
    return None


def in_use(folders: tuple[str, ...], licenses: tuple[Slots, ...]) -> tuple[Holder, ...]:
    """Return the slots of the licences that are in use now, by this process or others.

    Raises:
        OSError: where a lock file may not be opened.
    """
    found = []
    for license_id, sessions in licenses:
        there = {(number, folder) for folder in folders for number in _numbers(folder, license_id)}
        taken: dict[int, int] = {}
        for number, folder in sorted(there):
            if number > sessions or taken.get(number):
                continue
            free = lock_file(_path(folder, license_id, number), license_id, number)
            if free is None:
                taken[number] = _holder(_path(folder, license_id, number))
            else:
                free.release()
        found += [Holder(license_id, number, pid) for number, pid in sorted(taken.items())]
    return tuple(found)


def lock_file(path: str, license_id: str = "", number: int = 0) -> SlotLock | None:
    """Take the lock of one file, made if need be; ``None`` where somebody else holds it.

    Raises:
        OSError: where the file cannot be made, or something else has its name.
    """
    descriptor = os.open(path, _FLAGS, PRIVATE_FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", path)
    try:
        locked = _lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if locked:
        return SlotLock(license_id, number, descriptor)
    os.close(descriptor)
    return None


def _path(folder: str, license_id: str, number: int) -> str:
    return os.path.join(folder, license_id, f"{number}.lock")


def _make(folders: tuple[str, ...], license_id: str) -> tuple[str, ...]:
    """Make the folders of a licence, and return those that can be used.

    Raises:
        OSError: none can.
    """
    usable = []
    trouble: OSError | None = None
    for folder in folders:
        try:
            make_private(os.path.join(folder, license_id))
        except OSError as error:
            trouble = error
        else:
            usable.append(folder)
    if trouble is not None and not usable:
        raise trouble
    return tuple(usable)


def _try(folders: tuple[str, ...], license_id: str, number: int) -> SlotLock | None:
    """Take a slot in all folders, or return ``None`` where one says that it is taken.

    Raises:
        OSError: its file in the first folder cannot be used.
    """
    first = lock_file(_path(folders[0], license_id, number), license_id, number)
    if first is None:
        return None
    others: list[SlotLock] = []
    for folder in folders[1:]:
        try:
            other = lock_file(_path(folder, license_id, number), license_id, number)
        except OSError:  # the first folder has decided; this one can only add what it knows
            continue
        if other is None:
            # A home that lies in the account's own place, or leads there by a link, has the same file: it is ours.
            if any(held.is_of(_path(folder, license_id, number)) for held in (first, *others)):
                continue
            for held in (first, *others):
                held.release()
            return None
        others.append(other)
    first.join(tuple(others))
    return first


def _numbers(folder: str, license_id: str) -> list[int]:
    try:
        names = os.listdir(os.path.join(folder, license_id))
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = [name[:-5] for name in names if name.endswith(".lock")]
    return [int(stem) for stem in stems if stem.isascii() and stem.isdecimal()]


def _holder(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return int(file.read(20))
    except (OSError, ValueError):
        return 0
