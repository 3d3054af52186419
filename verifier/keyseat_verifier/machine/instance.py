"""Instance ids: a random id kept on a persistent volume, or a host's machine-id handed in read-only.

Weaker than hardware, because a file can be copied, but it tells two containers of one image apart. An instance id is
made only when asked for; several processes starting at once agree on one.
"""

import os

from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.findings import REJECTED, Findings
from keyseat_verifier.machine.mounts import mount_of, read_mounts
from keyseat_verifier.machine.places import keyseat_home
from keyseat_verifier.machine.source import Source

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Mapping

    from keyseat_shared.errors import KeyseatError

_ID_DIGITS = 32
_HEX = frozenset("0123456789abcdef")
_WRITABLE_BY_OTHERS = 0o022
_WAIT_SECONDS = 2.0


def probe_instance(source: Source, findings: Findings, environ: "Mapping[str, str]", instance: "str | None") -> str:
    """Collect instance evidence; returns the instance source for the header: ``none``, ``instance-file``, ``host-id``.

    Raises:
        KeyseatError: ``UNREADABLE`` if the file asked for with ``instance`` cannot be made or may not be trusted.
    """
    if instance is not None:
        _file(findings, instance, make=True)
        return "instance-file"
    configured = environ.get("KEYSEAT_INSTANCE_FILE")
    path = configured or os.path.join(keyseat_home(environ), "instance-id")
    if (configured or os.access(path, os.F_OK)) and _file(findings, path, make=False):
        return "instance-file"
    host = environ.get("KEYSEAT_HOST_ID_FILE")
    if host and _host_id(source, findings, host):
        return "host-id"
    return "none"


def _file(findings: Findings, path: str, *, make: bool) -> bool:
    try:
        value = read_or_make(path) if make else read(path)
    except _NotTrustedError as error:
        if make:
            raise _refused(path, error.reason) from None
        findings.note("instance", "instance file", REJECTED, error.reason)
        return False
    except OSError as error:
        if make:
            raise _refused(path, (error.strerror or "it cannot be made").lower()) from None
        findings.failed("instance", "instance file", error)
        return False
    return findings.take("instance", "instance file", value, lambda raw: (raw, ""))


class _NotTrustedError(Exception):
    """The file is there but says nothing dependable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(path: str) -> str:
    """Return the id in an instance file.

    Raises:
        OSError: if it cannot be read.
    """
    import stat  # late: most runs have no instance file

    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _NotTrustedError("not a regular file")
        # Who can write the file can make this machine look like another one.
        if hasattr(os, "getuid"):
            if status.st_mode & _WRITABLE_BY_OTHERS:
                raise _NotTrustedError(
                    "other users may write it: run chmod go-w on it, and in Kubernetes set fsGroupChangePolicy:"
                    " OnRootMismatch"
                )
            if status.st_uid not in {0, os.getuid()}:
                raise _NotTrustedError("it belongs to another user")
        content = os.read(descriptor, 256)
    finally:
        os.close(descriptor)
    value = canonical.text(content)
    if len(value) != _ID_DIGITS or not _HEX.issuperset(value):
        raise _NotTrustedError("it does not hold an instance id" if value else "it is empty")
    return value


def read_or_make(path: str) -> str:
    """Return the id in an instance file, making file and folder (0600, 0700) if there is none.

    The file appears whole or not at all: it is written beside its place and linked there, which fails if another
    process was first; then that one's id counts.

    Raises:
        OSError: if it cannot be read or made.
    """
    try:
        return read(path)
    except FileNotFoundError:
        pass
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    content = os.urandom(_ID_DIGITS // 2).hex().encode() + b"\n"
    import contextlib  # late: made once

    from keyseat_shared.writing import sync_folder, write_new

    beside = os.path.join(folder, f".instance-id.{os.getpid()}.{os.urandom(6).hex()}")
    write_new(beside, content)
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    except OSError:
        return _make_without_links(path, content)
    finally:
        os.unlink(beside)
    with contextlib.suppress(OSError):  # some network file systems cannot
        sync_folder(folder)
    return read(path)


def _make_without_links(path: str, content: bytes) -> str:
    """File systems without hard links: the exclusive creation decides who is first, the others wait for the content."""
    import time

    from keyseat_shared.writing import write_new

    try:
        write_new(path, content)
    except FileExistsError:
        deadline = time.monotonic() + _WAIT_SECONDS
        while os.stat(path).st_size < _ID_DIGITS and time.monotonic() < deadline:
            time.sleep(0.01)
    return read(path)


def _host_id(source: Source, findings: Findings, path: str) -> bool:
    """Take a host's machine-id from a configured path, if it is a read-only mount of its own.

    A file that belongs to the image, or that the container could write, would say nothing about the host.
    """
    where = "host id file"
    mounts = read_mounts(source)
    mount, root = mount_of(mounts, os.path.normpath(path)), mount_of(mounts, "/")
    if mount is None or mount.point == "/" or mount.filesystem == "tmpfs" or (root and mount.device == root.device):
        findings.note("instance", where, REJECTED, "not a mount from the host")
        return False
    if "ro" not in mount.options:
        findings.note("instance", where, REJECTED, "not mounted read-only")
        return False

    def canonicalise(raw: str) -> "tuple[str, str]":
        value, reason = canonical.os_id(raw)
        return ("" if reason else "host:" + value), reason

    return findings.attempt("instance", where, canonicalise, _text, source, path)


def _text(source: Source, path: str) -> str:
    return canonical.text(source.read_file(path, 256))


def _refused(path: str, reason: str) -> "KeyseatError":
    from keyseat_shared.codes import ReasonCode  # late: only on errors
    from keyseat_shared.errors import KeyseatError

    return KeyseatError(
        ReasonCode.UNREADABLE,
        f"the instance file {os.path.basename(path)!r} cannot be used: {reason}",
        next_step="Choose a file on a persistent volume that only this account may write.",
    )
