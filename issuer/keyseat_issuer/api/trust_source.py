"""The trust bundle and the lease key that the service works with: read at the start, and again when they change.

The bundle in force is the newest one that the ledger has on record. Several hosts share one ledger, each with a home of
its own: a key that was revoked on one of them must stop signing on all.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from keyseat_issuer.api.logs import LOGGER
from keyseat_issuer.home import TRUST_FILE, load_trust
from keyseat_issuer.keys.signing import EnvelopeSigner, open_lease_signer
from keyseat_issuer.ledger.audit.bundles import newest_row, recorded_version
from keyseat_issuer.trust.freshness import RENEW, warning
from keyseat_issuer.trust.history import read_version, successors
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, UntrustedError
from keyseat_shared.instants import CLOCK_TOLERANCE
from keyseat_shared.policy import Policy
from keyseat_shared.trust import ACTIVE, LEASE, TrustBundle

_log = logging.getLogger(LOGGER)
_LOOK_EVERY = 1.0
"""Seconds between looks at home and ledger: how long a new bundle takes to be noticed."""

OpenSigner = Callable[[TrustBundle, datetime], EnvelopeSigner]


class _State(NamedTuple):
    bundle: TrustBundle
    etag: str
    signer: EnvelopeSigner
    stamp: tuple[int, int, int]
    row: int
    """The number of the ledger's row that the bundle was the newest of."""


class TrustSource:
    """The bundle in the issuer's home with an open lease signer. Threads may share one."""

    def __init__(self, home: Path, passphrase: str, now: datetime, *, allow_example_keys: bool = False) -> None:
        """Read the bundle and unlock the lease key; the passphrase is kept, to open the next key after a rotation.

        Raises:
            TrustError: ``UNREADABLE``, ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
            KeyseatError: ``KEY_UNAVAILABLE``.
        """
        self._home = home
        self._passphrase = passphrase
        self._allow_example_keys = allow_example_keys
        self._lock = Lock()
        self._looked = time.monotonic()
        self._failure: KeyseatError | None = None
        self._logged = ""
        self._state = self._load(now)
        self._warned: date | None = None
        self._warn(now)

    def authority(self, now: datetime) -> tuple[Policy, EnvelopeSigner]:
        """Return the policy in force and a signer that may sign leases at ``now``.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``, or why the present bundle cannot be used, in words for callers: folders
                and advice for the operator go to the log.
        """
        try:
            return self._authority(now)
        except KeyseatError as error:
            self._log_failure(error)
            raise _for_callers(error) from error

    def _authority(self, now: datetime) -> tuple[Policy, EnvelopeSigner]:
        self.look(now)
        state = self._state
        if self._failure is not None:
            # Not even a newer bundle that cannot be used lets the old one go on: it may revoke our key.
            raise self._failure
        try:
            for keyid in state.signer.keyids:
                key = state.bundle.find(keyid)
                if key is None:
                    raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, "the lease key is not in the trust bundle")
                key.check_may_sign(LEASE, now)
                key.check_may_sign(LEASE, now + CLOCK_TOLERANCE)  # the ledger's time may be that far ahead
        except UntrustedError:
            with self._lock:
                # Its window has closed: the bundle may name a newer key.
                self._state = state = self._load(now)
        return state.bundle.policy, state.signer

    def lacks(self, now: datetime) -> tuple[str, ...]:
        """Return the ids of lease keys that are newer than those that sign here, and whose files are not here."""
        state = self._state
        signing = [key for keyid in state.signer.keyids if (key := state.bundle.find(keyid)) is not None]
        return tuple(
            [
                key.key.keyid
                for key in state.bundle.keys
                for own in signing
                if (key.purpose, key.status, key.key.algorithm) == (LEASE, ACTIVE, own.key.algorithm)
                and own.valid_from < key.valid_from <= now < key.valid_until
            ]
        )

    def bundle(self) -> tuple[bytes, str]:
        """Return the bytes of the present bundle and their ETag."""
        return self._state.bundle.data, self._state.etag

    def version(self, number: int) -> tuple[bytes, str]:
        """Return the bytes of one version of the bundle and their ETag. Reads the ledger where the home lacks it.

        Raises:
            KeyseatError: ``NOT_FOUND`` where there is none of that number, ``UNREADABLE``, ``LEDGER_UNAVAILABLE``.
        """
        state = self._state
        if number == state.bundle.version:
            return state.bundle.data, state.etag
        if number > state.bundle.version:
            # A change that was cut short may have left a file, of which the ledger knows nothing.
            raise KeyseatError(ReasonCode.NOT_FOUND, f"version {number} of the trust bundle is still to come")
        try:
            data = read_version(self._home, number)
        except KeyseatError:
            # Made on another host: what the ledger has on record will do.
            recorded = recorded_version(number)
            if recorded is None:
                raise
            data = recorded
        return data, _etag(data)

    def trust(self) -> TrustBundle:
        """Return the present bundle."""
        return self._state.bundle

    def policy(self) -> Policy:
        """Return the policy in force."""
        return self._state.bundle.policy

    def look(self, now: datetime) -> None:
        """Take up what has changed in the home and the ledger, at most once a second. Not on the event loop.

        An error is kept for ``authority``, which then signs nothing. A ledger that is down says nothing about the
        bundle; no lease is granted without it anyway.
        """
        if time.monotonic() - self._looked < _LOOK_EVERY or not self._lock.acquire(blocking=False):
            return  # who looks just now may wait for the ledger longer than this call has left
        try:
            self._looked = time.monotonic()
            try:
                row = 0 if self._allow_example_keys else newest_row()
                same = (row, _stamp(self._home / TRUST_FILE)) == (self._state.row, self._state.stamp)
                if self._failure is not None or not same:
                    self._state = self._load(now)
            except KeyseatError as error:
                if error.code is not ReasonCode.LEDGER_UNAVAILABLE:
                    self._failure = error
                    self._log_failure(error)
            else:
                self._failure = None
                self._logged = ""
            self._warn(now)
        finally:
            self._lock.release()

    def _log_failure(self, error: KeyseatError) -> None:
        """Tell the operator, once for each failure, what callers are not told."""
        told = f"the trust bundle or lease key cannot be used: {error.message}. {error.next_step}"
        if error.code is not ReasonCode.LEDGER_UNAVAILABLE and told != self._logged:
            self._logged = told
            _log.error(told, extra={"code": str(error.code)})

    def _warn(self, now: datetime) -> None:
        """Say once a day in the log that the bundle is stale or soon will be."""
        if self._warned != now.date():
            self._warned = now.date()
            if told := warning(self._state.bundle, now):
                _log.warning("%s %s", told, RENEW, extra={"code": str(ReasonCode.TRUST_STALE)})

    def _load(self, now: datetime) -> _State:
        # Before the bundle: one that comes in between is noticed at the next look.
        stamp = _stamp(self._home / TRUST_FILE)
        bundle = load_trust(self._home, allow_example_keys=self._allow_example_keys)
        row = 0
        if not self._allow_example_keys:
            row = newest_row()
            for bundle in successors(bundle):  # noqa: B020 - each follows the one before
                _log.info("a newer trust bundle is on record", extra={"version": bundle.version})
        signer = open_lease_signer(self._home, bundle, self._passphrase, now)
        return _State(bundle, _etag(bundle.data), signer, stamp, row)


def _for_callers(error: KeyseatError) -> KeyseatError:
    """Return what callers are told of a failure that only the operator can mend; the ids of keys are no secret."""
    if error.code is ReasonCode.LEDGER_UNAVAILABLE:
        return error
    what = "lease key" if error.code is ReasonCode.KEY_UNAVAILABLE else "trust bundle that can be used"
    return KeyseatError(
        error.code,
        f"the service has no {what} at the moment",
        details={name: error.details[name] for name in ("lacks",) if name in error.details},
        next_step="Try again in some minutes. If it stays so, tell whoever runs this service: their log says more.",
    )


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)
