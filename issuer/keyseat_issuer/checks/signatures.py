"""Checking licences' signatures for the audit check: with the vendor's own trust bundle, as a client would.

A licence that was forged in the database, with audit rows to match, has no signature of the vendor's.
"""

from collections.abc import Iterator

from keyseat_issuer.checks.rows import Finding
from keyseat_issuer.ledger.audit.bundles import bundle_digest, history
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import LICENSE_TYPE, Envelope, pae
from keyseat_shared.errors import MalformedError, TrustError, UntrustedError
from keyseat_shared.payloads import LicensePayload
from keyseat_shared.trust import LICENSE, TrustBundle, TrustedKey


class Signatures:
    """The licence keys that may have signed: those of the bundle in force, retired and revoked ones among them.

    Args:
        trust: the bundle of the issuer's home; newer ones on record in the ledger are taken up by the update rule.
    """

    def __init__(self, trust: TrustBundle) -> None:
        self._own = trust
        self._trust = trust

    def bundles(self) -> Iterator[Finding]:
        """Take up the newest bundle on record; yield what is wrong with the bundles."""
        rows = [row for row in history() if row.entry is not None]
        own = bundle_digest(self._own.data)
        if rows and all(row.entry is not None and row.entry.digest != own for row in rows):
            yield Finding(
                "trust bundle", f"version {self._own.version} at hand is not one that the ledger has on record"
            )
            return
        for row in rows:
            if row.entry is None or row.entry.version <= self._trust.version:
                continue
            try:
                self._trust = self._trust.update(row.entry.bundle.encode())
            except TrustError:
                yield Finding(f"audit row {row.seq}", "the root keys did not sign the trust bundle that it holds")

    def fault(self, data: bytes) -> str | None:
        """Return what is wrong with a licence's signatures, or ``None``.

        A revoked key counts: the licence is the vendor's, although clients do not take it any more.
        """
        try:
            envelope = Envelope.from_bytes(data)
            if envelope.payload_type != LICENSE_TYPE:
                return "its file is no licence"
            payload = LicensePayload.from_bytes(envelope.payload)
        except MalformedError:
            return None  # told elsewhere
        keys = {trusted.key.keyid: trusted for trusted in self._trust.keys}
        known = [(keys[keyid], sig) for keyid, sig in envelope.signatures if keyid in keys]
        if not known:
            return "no key of the trust bundle signed it: forged"
        if not any(_may_sign(trusted, payload) for trusted, _ in known):
            return "its key was not a licence key at its time of issue: forged"
        message = pae(envelope.payload_type, envelope.payload)
        return next((fault for trusted, sig in known if (fault := _misfit(trusted, sig, message))), None)


def _misfit(trusted: TrustedKey, sig: bytes, message: bytes) -> str | None:
    try:
        holds = trusted.key.verifies(sig, message)
    except TrustError as error:
        return f"its signature by key {trusted.key.keyid} cannot be checked: {error.message}"
    return None if holds else f"the signature by key {trusted.key.keyid} does not fit its content: forged"


def _may_sign(trusted: TrustedKey, payload: LicensePayload) -> bool:
    try:
        trusted.check_may_sign(LICENSE, payload.issued_at)
    except UntrustedError as error:
        return error.code is ReasonCode.KEY_COMPROMISED and trusted.purpose == LICENSE
    return True
