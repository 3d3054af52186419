"""Writing files whole: readers see the old content or the new, never a part, and nothing is left after a failure."""

import contextlib
import errno
import os

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# What `os.link` says where the file system (FAT, some network shares) has no hard links, or the system forbids them.
_NO_LINKS = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def write_new(path: "str | os.PathLike[str]", data: bytes, mode: int = 0o600, *, sync: bool = True) -> None:
    """Write a file that must not be there yet; with ``sync`` its content is durable on return.

    Raises:
        OSError: if that is not possible; a part of a file does not stay.
    """
    descriptor = os.open(path, _NEW, mode)
    try:
        try:
            left = memoryview(data)
            while left:  # a disk that is nearly full takes a part before it refuses the rest
                left = left[os.write(descriptor, left) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _forget(path)
        raise


def replace(path: "str | os.PathLike[str]", data: bytes, mode: int = 0o600) -> None:
    """Put a file in the place of the one that is there, if any, in one step.

    Raises:
        OSError: if that is not possible; what was there stays.
    """
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    write_new(beside, data, mode)
    try:
        os.replace(beside, path)
    except BaseException:
        _forget(beside)
        raise


def place_new(part: str, path: str) -> bool:
    """Give the finished file its name, unless something has that name: atomic, also against another process."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            return False
        os.rename(part, path)
    return True


def sync_folder(path: "str | os.PathLike[str]") -> None:
    """Make the names in a folder durable: a rename survives a power cut only after this (fsync(2), notes).

    Raises:
        OSError: where the file system cannot.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows: folders cannot be opened there; NTFS journals renames itself
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget(path: "str | os.PathLike[str]") -> None:
    """Take a file away. The failure that led here is the one to tell."""
    with contextlib.suppress(OSError):
        os.unlink(path)
