"""Reading files that people name: bounded in size and time, never a device, and with a reason for every refusal."""

import os
import stat

from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import MAX_SIZE
from keyseat_shared.errors import CouldNotVerifyError

PIPE_SECONDS = 30.0
"""Longest time for which a pipe that a person names is read."""

# O_NONBLOCK: opening a FIFO would wait for a writer. O_NOCTTY: a terminal must not become ours.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_file(path: str | os.PathLike[str], *, pipes: bool = False) -> bytes:
    """Return the bytes of a regular file, at most 64 KiB and one byte (which the envelope then refuses).

    Args:
        path: the file.
        pipes: whether a pipe will do too, for what a person names: ``<(...)`` of a shell, ``/dev/stdin``. It is read
            for 30 seconds at most.

    Raises:
        CouldNotVerifyError: ``UNREADABLE``: missing, not allowed, a folder or device, or a pipe that ends too late.
    """
    descriptor = _open(path, pipes=pipes)
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return _read_pipe(path, descriptor)
        return _read(descriptor)
    except OSError as error:
        raise _unreadable(path, _words(error)) from None
    finally:
        os.close(descriptor)


def require_file(path: str | os.PathLike[str]) -> None:
    """Make sure that a library which opens a file by its name will find one, and nothing that it would wait for.

    Raises:
        CouldNotVerifyError: as ``read_file``.
    """
    os.close(_open(path, pipes=False))


def _open(path: str | os.PathLike[str], *, pipes: bool) -> int:
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError:  # a NUL in the name
        raise _unreadable(path, "no such name") from None
    except OSError as error:
        if os.path.isdir(path):
            raise _not_a_file(path, "a folder") from None
        raise _unreadable(path, _words(error)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode) and os.name == "posix"):
        return descriptor
    os.close(descriptor)
    raise _not_a_file(path, "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device")


def _read(descriptor: int) -> bytes:
    data = b""
    while len(data) <= MAX_SIZE:
        more = os.read(descriptor, MAX_SIZE + 1 - len(data))
        if not more:
            break
        data += more
    return data


def _read_pipe(path: str | os.PathLike[str], descriptor: int) -> bytes:
    import select
    import time

    until = time.monotonic() + PIPE_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = b""
    while len(data) <= MAX_SIZE:
        try:
            more = os.read(descriptor, MAX_SIZE + 1 - len(data))
        except BlockingIOError:  # there is a writer, who has not written yet
            more = None
        if more:
            data += more
            continue
        if more is not None and data:
            break
        found = poll.poll(max(0.0, until - time.monotonic()) * 1000)
        if not found:
            raise _unreadable(path, f"the pipe has not ended within {PIPE_SECONDS:.0f} seconds")
        if not found[0][1] & select.POLLIN:  # a writer came and went
            break
    return data


def _words(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()


def _not_a_file(path: str | os.PathLike[str], what: str) -> CouldNotVerifyError:
    error = _unreadable(path, f"it is {what}, not a file")
    error.next_step = "Name the file itself, or put a file in its place."
    return error


def _unreadable(path: str | os.PathLike[str], reason: str) -> CouldNotVerifyError:
    return CouldNotVerifyError(
        ReasonCode.UNREADABLE, f"cannot read {os.fspath(path)!a}: {reason}", details={"reason": reason}
    )
