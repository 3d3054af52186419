"""The issuer's home: the folder that holds keys, trust bundle and ledger, and how files get into it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from keyseat_issuer.causes import Cause
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.trust import TrustBundle
from keyseat_shared.writing import replace, sync_folder

HOME_VARIABLE = "KEYSEAT_ISSUER_HOME"
TRUST_FILE = "trust.json"
HISTORY_FOLDER = "trust"
KEYS_FOLDER = "keys"
LEDGER_FILE = "ledger.sqlite3"
LOCK_FILE = ".lock"


def issuer_home() -> Path:
    """Return the folder in ``KEYSEAT_ISSUER_HOME``, or ``~/.keyseat-issuer``. It need not exist."""
    named = os.environ.get(HOME_VARIABLE)
    return Path(named).expanduser().absolute() if named else Path.home() / ".keyseat-issuer"


def load_trust(home: Path | None = None, *, allow_example_keys: bool = False) -> TrustBundle:
    """Read and verify the issuer's own trust bundle.

    Raises:
        TrustError: ``UNREADABLE`` where there is none, ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
    """
    path = (home or issuer_home()) / TRUST_FILE
    try:
        return TrustBundle.load(path, allow_example_keys=allow_example_keys)
    except TrustError as error:
        if error.code not in {ReasonCode.UNREADABLE, ReasonCode.TRUST_INVALID}:
            raise
        if error.code is ReasonCode.UNREADABLE and path.exists():
            step = "Run this as the account that owns the issuer's home."
            raise TrustError(error.code, error.message, next_step=step) from None
        kept = _newest_kept(path.parent, allow_example_keys=allow_example_keys)
        if error.code is ReasonCode.UNREADABLE and kept is None:
            message = f"there is no issuer in {str(path.parent)!r}"
            raise TrustError(error.code, message, cause=Cause.ISSUER_MISSING) from None
        missing = error.code is ReasonCode.UNREADABLE
        message = f"{str(path)!r} is missing" if missing else f"{str(path)!r} was damaged or changed: {error.message}"
        # Whatever is put in its place is compared with the ledger before anything is signed under it.
        step = (
            "Restore the issuer's home from its backup."
            if kept is None
            else f"Copy the newest version that was kept, {str(kept)!r}, to its place."
        )
        raise TrustError(error.code, message, next_step=step) from None


def _newest_kept(home: Path, *, allow_example_keys: bool) -> Path | None:
    """Return the file of the newest version in the history folder that is whole."""
    numbered = [path for path in (home / HISTORY_FOLDER).glob("*.json") if path.stem.isdecimal()]
    for path in sorted(numbered, key=lambda path: int(path.stem), reverse=True):
        with contextlib.suppress(TrustError):
            TrustBundle.load(path, allow_example_keys=allow_example_keys)
            return path
    return None


def exposed_files(home: Path) -> tuple[Path, ...]:
    """Return the files in the home that others may read: keys, the server's secret, the ledger, copies of any of them.

    Trust bundles are public. Where the home itself is closed to others, so is all that is in it.
    """
    if os.name != "posix" or not home.is_dir() or not home.stat().st_mode & 0o077:
        return ()
    public = {TRUST_FILE, LOCK_FILE}
    found = [
        path
        for path in sorted(home.rglob("*"))
        if path.is_file()
        and path.name not in public
        and path.parent.name != HISTORY_FOLDER
        and path.stat().st_mode & 0o077
    ]
    return tuple(found)


def make_private_folder(path: Path) -> None:
    """Make ``path`` (and its parents) as a folder that only its owner may enter, or tighten one that exists."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write ``data`` to ``path`` whole or not at all, readable by its owner only, and durable on return.

    Another ``mode`` is for public files, such as an exported trust bundle.

    Raises:
        KeyseatError: ``UNREADABLE`` that names the file and the reason.
    """
    try:
        replace(path, data, mode)
        sync_folder(path.parent)
    except OSError as error:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"cannot write {str(path)!r}: {error.strerror}",
            next_step="Check that the folder exists, is yours, and that the disk has room.",
        ) from None


@contextlib.contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the home for one change at a time; another process waits. The lock goes with the process that holds it.

    Raises:
        KeyseatError: ``UNREADABLE`` where the home cannot be written.
    """
    try:
        descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"cannot write in {str(home)!r}: {error.strerror}",
            next_step="Run this as the account that owns the issuer's home.",
        ) from None
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt  # noqa: PLC0415 - exists there only

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only
    else:
        import fcntl  # noqa: PLC0415 - exists on POSIX only

        fcntl.flock(descriptor, fcntl.LOCK_EX)
