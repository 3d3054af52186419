"""Leases kept on disk, one file each, so that programs started later need no server while a lease lasts.

``leases/activated`` holds what ``keyseat activate`` asked for: it stays until ``keyseat release``. ``leases/sessions``
holds what a running program holds; where the program was killed, the next one takes its session over instead of
asking for a second seat. Who holds a session is told by a file lock, as for offline licences (`client/slots.py`).
"""

import contextlib
import os
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, VerificationError
from keyseat_shared.files import read_file
from keyseat_shared.instants import format_instant
from keyseat_verifier._internal.paths import LEASES, SESSIONS, shown, write_private
from keyseat_verifier.client.entitlement import PassedOver
from keyseat_verifier.client.slots import SlotLock, Slots, in_use, take_slot
from keyseat_verifier.verify.lease import SEAT_UNTIL, verify_lease
from keyseat_verifier.verify.verified import VerifiedLease
from keyseat_verifier.verify.verifier import Machine, Verifier

ACTIVATED = "activated"
HELD = "sessions"
SUFFIX = ".lease"
MAX_LEASES = 256
"""Files looked at, the newest: a folder full of others hides no lease that was kept of late."""
MAX_ENDED = 8
"""Leases kept although the clock says that they have ended: it may be ahead by mistake."""


class StoredLease(NamedTuple):
    """A lease that counts now, and the file it is kept in ("" where it could not be written)."""

    path: str
    lease: VerifiedLease

    @property
    def is_activated(self) -> bool:
        """Whether ``keyseat activate`` asked for it, so that no program gives it back by itself."""
        return os.path.basename(os.path.dirname(self.path)) == ACTIVATED


class LeaseStore:
    """The leases of one product under a home folder."""

    def __init__(self, home: str, product: str) -> None:
        """Name the folders; they need not exist."""
        self.folder = os.path.join(home, LEASES)
        self._sessions = os.path.join(home, SESSIONS)
        self._product = product

    def find(
        self, verifier: Verifier, machine: Machine, now: datetime, *, as_signed: bool = False
    ) -> tuple[list[StoredLease], list[PassedOver]]:
        """Return the leases that count at ``now``, the one that ends last first, and why others do not.

        A lease that has ended, by what the server signed, is worth nothing to anybody: its file is removed as soon as
        a signed time says so. ``as_signed`` is as for ``verify_lease``.
        """
        found: list[StoredLease] = []
        ended: list[tuple[str, str]] = []
        passed: list[PassedOver] = []
        for path in self._paths():
            try:
                lease = verify_lease(verifier, read_file(path), machine=machine, now=now, as_signed=as_signed)
            except VerificationError as error:
                passed.append(PassedOver(shown(path), error.code, error.message, error.next_step))
                if error.code is ReasonCode.EXPIRED and SEAT_UNTIL not in error.details:
                    ended.append((str(error.details["expires_at"]), path))
            else:
                found.append(StoredLease(path, lease))
        if ended:
            _remove_ended(ended, max([verifier.trust.issued_at, *[stored.lease.issued_at for stored in found]]))
        found.sort(key=lambda stored: (stored.lease.expires_at, stored.lease.session_id), reverse=True)
        return found, passed

    def keep(self, lease: VerifiedLease, data: bytes, *, activated: bool) -> StoredLease:
        """Write a lease down. Where that is impossible its path is empty, and it counts for this process only."""
        kind = ACTIVATED if activated else HELD
        path = os.path.join(self.folder, kind, f"{self._product}_{lease.session_id}{SUFFIX}")
        try:
            write_private(path, data)
        except OSError:
            path = ""
        return StoredLease(path, lease)

    def take(self, session_id: str) -> SlotLock | None:
        """Take the session for this process; ``None`` where another holder has it.

        Raises:
            KeyseatError: ``UNREADABLE`` where sessions cannot be counted.
        """
        try:
            return take_slot((self._sessions,), (Slots(session_id, 1),))
        except OSError as error:
            raise KeyseatError(
                ReasonCode.UNREADABLE,
                f"sessions cannot be counted under {shown(self._sessions)}:"
                f" {(error.strerror or 'unknown reason').lower()}",
                next_step="Make that folder writable for this account, or set KEYSEAT_HOME to one that is.",
            ) from None

    def holder(self, session_id: str) -> int | None:
        """Return the process that holds a session now (0 where its id is not known), or ``None``."""
        try:
            found = in_use((self._sessions,), (Slots(session_id, 1),))
        except OSError:
            return None
        return found[0].pid if found else None

    def forget_slot(self, session_id: str) -> None:
        """Remove the lock file of a session that is over: its id never comes back."""
        folder = os.path.join(self._sessions, session_id)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, "1.lock"))
            os.rmdir(folder)

    def _paths(self) -> list[str]:
        paths = []
        for kind in (ACTIVATED, HELD):
            folder = os.path.join(self.folder, kind)
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                continue
            paths += [
                os.path.join(folder, name)
                for name in names
                if name.startswith(f"{self._product}_") and name.endswith(SUFFIX)
            ]
        if len(paths) > MAX_LEASES:
            paths = sorted(paths, key=_kept_at, reverse=True)[:MAX_LEASES]
        return paths


def _kept_at(path: str) -> float:
    try:
        return os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def _remove_ended(ended: list[tuple[str, str]], passed: datetime) -> None:
    """Remove leases that end before an instant that has certainly passed, and of the others all but the last few.

    Args:
        ended: their ends, as they are written, and their files.
        passed: a signed instant. The clock alone removes nothing: where it is ahead for an hour, a lease that lasts
            for days would be lost with it.
    """
    known = format_instant(passed)
    ended.sort()
    for number, (at, path) in enumerate(ended, 1):
        if at <= known or number <= len(ended) - MAX_ENDED:
            remove(path)


def remove(path: str) -> None:
    """Remove a lease's file; none is no error."""
    with contextlib.suppress(OSError):
        os.unlink(path)
