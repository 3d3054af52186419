"""Reading files that people name: bounded, never a pipe or a device, and with a reason for every refusal."""

import os
import stat

from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import MAX_SIZE
from keyseat_shared.errors import CouldNotVerifyError, MalformedError

# O_NONBLOCK: opening a FIFO would wait for a writer. O_NOCTTY: a terminal must not become ours.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_file(path: str) -> bytes:
    """Return the bytes of a regular file, at most 64 KiB and one byte (which the envelope then refuses).

    Raises:
        CouldNotVerifyError: ``UNREADABLE`` where the file is missing or may not be read.
        MalformedError: ``MALFORMED`` where the name is that of a folder, pipe or device.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except IsADirectoryError:
        raise _not_a_file(path, "is a folder") from None
    except ValueError:  # a NUL in the name
        raise _unreadable(path, "no such name") from None
    except OSError as error:
        if os.path.isdir(path):
            raise _not_a_file(path, "is a folder") from None
        raise _unreadable(path, (error.strerror or "unknown reason").lower()) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _not_a_file(path, "is a folder" if stat.S_ISDIR(mode) else "is a pipe or a device")
        return _read(descriptor)
    except OSError as error:
        raise _unreadable(path, (error.strerror or "unknown reason").lower()) from None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    data = b""
    while len(data) <= MAX_SIZE:
        more = os.read(descriptor, MAX_SIZE + 1 - len(data))
        if not more:
            break
        data += more
    return data


def _not_a_file(path: str, what: str) -> MalformedError:
    return MalformedError(
        ReasonCode.MALFORMED, f"{path!a} {what}, not a file", next_step="Name the licence file itself (*.lic)."
    )


def _unreadable(path: str, reason: str) -> CouldNotVerifyError:
    return CouldNotVerifyError(ReasonCode.UNREADABLE, f"cannot read {path!a}: {reason}")
