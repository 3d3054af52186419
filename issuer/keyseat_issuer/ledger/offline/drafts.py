"""Licences that are signed before the pools are locked: nobody waits for our signatures.

A draft is handed out only where the decision under the locks says the same as the one it was signed for.
"""

from datetime import datetime, timedelta

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.offline.rules import Decision
from keyseat_issuer.ledger.offline.values import IssuedLicense, Terms
from keyseat_shared.envelope import LICENSE_TYPE
from keyseat_shared.errors import KeyseatError, VerificationError
from keyseat_shared.payloads import LicensePayload
from keyseat_verifier.verify.verifier import Verifier

_LASTS = timedelta(hours=1)
"""How old a draft may be when it is stored: keys in the cloud take a while for a long batch."""


class Drafts:
    """What was signed for the requests of one conversion, by their places."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._verifier = Verifier(terms.trust, allow_example_keys=terms.allow_example_keys)
        self._policy = terms.trust.policy.digest()
        self._made: dict[int, tuple[LicensePayload, IssuedLicense]] = {}

    def sign(self, place: int, decision: Decision, at: datetime) -> IssuedLicense:
        """Sign what was decided for a request, and verify it with the verifier's own code.

        Raises:
            KeyseatError: the code of a licence that does not verify after signing.
        """
        signer = self.terms.signer
        if signer is None:
            msg = "issuing needs a signer"
            raise ValueError(msg)
        payload = _payload(decision, at, self._policy)
        file = signer.sign(LICENSE_TYPE, payload.to_bytes())
        _verify(self._verifier, file, payload, decision, at)
        made = IssuedLicense(
            decision.license_id,
            decision.organization.id,
            payload.organization_name,
            payload.product,
            payload.user,
            payload.machine_id,
            payload.sessions,
            payload.issued_at,
            payload.expires_at,
            file,
        )
        self._made[place] = payload, made
        return made

    def fitting(self, place: int, decision: Decision, at: datetime) -> IssuedLicense | None:
        """Return what was signed for a request, if a licence signed now would say the same but for its id and date."""
        payload, made = self._made.get(place, (None, None))
        if payload is None or made is None or not timedelta() <= at - payload.issued_at <= _LASTS:
            return None
        now = _payload(decision, at, self._policy)
        return made if now._replace(license_id=payload.license_id, issued_at=payload.issued_at) == payload else None


def _payload(decision: Decision, at: datetime, policy: str) -> LicensePayload:
    source, organization = decision.source, decision.organization
    return LicensePayload(
        license_id=str(decision.license_id),
        product=decision.request.product,
        organization_id=str(organization.id),
        organization_name=organization.name,
        user=decision.user,
        subscription_id=str(source.subscription_id),
        term=source.term,
        starts_at=source.starts_at,
        ends_at=source.ends_at,
        machine_id=decision.machine_id,
        sessions=decision.request.sessions,
        features=decision.request.features,
        issued_at=at,
        expires_at=decision.expires_at,
        policy=policy,
    )


def _verify(verifier: Verifier, file: bytes, payload: LicensePayload, decision: Decision, at: datetime) -> None:
    """Verify a file that was just signed as its client will; a licence that fails there must never leave this room."""
    try:
        verified = verifier.verify(file, machine=decision.machine, now=at)
    except VerificationError as error:
        raise unverifiable(error) from error
    signed = (verified.license_id, verified.machine_id, verified.user, verified.sessions, verified.expires_at)
    if signed != (payload.license_id, payload.machine_id, payload.user, payload.sessions, payload.expires_at):
        msg = "the signer signed something else"
        raise RuntimeError(msg)


def unverifiable(error: VerificationError) -> KeyseatError:
    """Return the refusal to let out a file that does not pass the verifier after signing."""
    return KeyseatError(
        error.code,
        f"the file does not verify after signing, and nothing was issued: {error.message}",
        details=error.details,
        cause=Cause.SIGNED_BUT_UNVERIFIABLE,
    )
