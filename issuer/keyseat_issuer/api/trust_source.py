"""The trust bundle and the lease key that the service works with: read at the start, and again when they change."""

import hashlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from keyseat_issuer.api.logs import LOGGER
from keyseat_issuer.home import TRUST_FILE, load_trust
from keyseat_issuer.signing import EnvelopeSigner, open_lease_signer
from keyseat_issuer.trust_history import read_version
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, UntrustedError
from keyseat_shared.policy import Policy
from keyseat_shared.trust import LEASE, TrustBundle

_log = logging.getLogger(LOGGER)
_LOOK_EVERY = 1.0
"""Seconds between looks at the file: how long a new bundle takes to be noticed."""

OpenSigner = Callable[[TrustBundle, datetime], EnvelopeSigner]


class _State(NamedTuple):
    bundle: TrustBundle
    etag: str
    signer: EnvelopeSigner
    stamp: tuple[int, int, int]


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
        self._state = self._load(now)

    def authority(self, now: datetime) -> tuple[Policy, EnvelopeSigner]:
        """Return the policy in force and a signer that may sign leases at ``now``.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``, or why the present bundle cannot be used.
        """
        state = self._current(now)
        if self._failure is not None:
            # A newer bundle that cannot be used is no reason to go on under the old one: it may revoke our key.
            raise self._failure
        try:
            for keyid in state.signer.keyids:
                key = state.bundle.find(keyid)
                if key is None:
                    raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, "the lease key is not in the trust bundle")
                key.check_may_sign(LEASE, now)
        except UntrustedError:
            with self._lock:
                # Its window has closed: the bundle may name a newer key.
                self._state = state = self._load(now)
        return state.bundle.policy, state.signer

    def bundle(self, now: datetime) -> tuple[bytes, str]:
        """Return the bytes of the present bundle and their ETag."""
        state = self._current(now)
        return state.bundle.data, state.etag

    def version(self, number: int, now: datetime) -> tuple[bytes, str]:
        """Return the bytes of one version of the bundle and their ETag.

        Raises:
            KeyseatError: ``NOT_FOUND`` where there is none of that number, ``UNREADABLE``.
        """
        state = self._current(now)
        if number == state.bundle.version:
            return state.bundle.data, state.etag
        if number > state.bundle.version:
            # A change that was cut short may have left a file, of which the ledger knows nothing.
            raise KeyseatError(ReasonCode.NOT_FOUND, f"version {number} of the trust bundle is still to come")
        data = read_version(self._home, number)
        return data, _etag(data)

    def trust(self, now: datetime) -> TrustBundle:
        """Return the present bundle."""
        return self._current(now).bundle

    def policy(self, now: datetime) -> Policy:
        """Return the policy in force."""
        return self._current(now).bundle.policy

    def _current(self, now: datetime) -> _State:
        if time.monotonic() - self._looked >= _LOOK_EVERY:
            with self._lock:
                self._looked = time.monotonic()
                if self._failure is not None or _stamp(self._home / TRUST_FILE) != self._state.stamp:
                    try:
                        self._state = self._load(now)
                    except KeyseatError as error:
                        self._failure = error
                        _log.error("the trust bundle or lease key cannot be used", extra={"code": str(error.code)})
                    else:
                        self._failure = None
        return self._state

    def _load(self, now: datetime) -> _State:
        stamp = _stamp(self._home / TRUST_FILE)
        bundle = load_trust(self._home, allow_example_keys=self._allow_example_keys)
        signer = open_lease_signer(self._home, bundle, self._passphrase, now)
        return _State(bundle, _etag(bundle.data), signer, stamp)


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)
