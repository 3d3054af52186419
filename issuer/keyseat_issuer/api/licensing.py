"""The licence keys in the service, where it was started with them: otherwise only Customer Success issues licences."""

from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Protocol

from keyseat_issuer.causes import Cause
from keyseat_issuer.home import load_trust
from keyseat_issuer.keys.signing import EnvelopeSigner, open_license_signer
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_issuer.trust.history import in_force
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, UntrustedError
from keyseat_shared.trust import ACTIVE, LICENSE, TrustBundle


class Licensing(Protocol):
    """Gives the terms under which licences are signed; ``LicenseKeys`` is one."""

    def terms(self, actor: str, now: datetime) -> Terms:
        """Return the terms, with a signer."""


class LicenseKeys:
    """The unlocked licence keys of an issuer's home. Threads may share one."""

    def __init__(self, home: Path, passphrase: str, now: datetime, *, allow_example_keys: bool = False) -> None:
        """Unlock the keys; the passphrase is kept, to open the next ones after a rotation.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``.
            TrustError: where there is no usable trust bundle.
        """
        self._home = home
        self._passphrase = passphrase
        self._allow_example_keys = allow_example_keys
        self._lock = Lock()
        self._signer = self._open(load_trust(home, allow_example_keys=allow_example_keys), now)

    def terms(self, actor: str, now: datetime) -> Terms:
        """Return the terms under the bundle on record, with a signer that may sign licences at ``now``.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``, ``LEDGER_UNAVAILABLE``.
            TrustError: where the bundle is not the one on record.
        """
        trust = load_trust(self._home, allow_example_keys=True) if self._allow_example_keys else in_force(self._home)
        with self._lock:
            if not _may_sign(self._signer, trust, now):
                self._signer = self._open(trust, now)
            signer = self._signer
        return Terms(trust, actor, now, signer, self._allow_example_keys)

    def _open(self, trust: TrustBundle, now: datetime) -> EnvelopeSigner:
        return open_license_signer(self._home, trust, self._passphrase, now)


def unavailable() -> KeyseatError:
    """Return the refusal of a service that was started without the licence keys."""
    return KeyseatError(
        ReasonCode.KEY_UNAVAILABLE,
        "this server does not hold the keys that sign offline licences",
        cause=Cause.OFFLINE_ISSUED_ELSEWHERE,
    )


def _may_sign(signer: EnvelopeSigner, trust: TrustBundle, now: datetime) -> bool:
    """Tell whether the keys still are the ones that sign: one retired, added or required since then counts."""
    algorithms = []
    for keyid in signer.keyids:
        key = trust.find(keyid)
        if key is None or key.status != ACTIVE:
            return False
        try:
            key.check_may_sign(LICENSE, now)
        except UntrustedError:
            return False
        algorithms.append(key.key.algorithm)
    return tuple(algorithms) == tuple(trust.signatures_required)
