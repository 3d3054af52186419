"""What verification returns: the verified licence, which only the verifier can make, and the report that explains."""

from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn

from keyseat_shared.codes import ReasonCode
from keyseat_shared.payloads import LeasePayload, LicensePayload, MachineTestPayload
from keyseat_shared.trust import TrustedKey

_TOKEN = object()  # known to the verifier only: a VerifiedLicense in hand means that it was verified


class _Verified:
    """What all verified files share: their signers, and that only the verifier can make one."""

    __slots__ = ("_payload", "_signers")
    _signers: tuple[TrustedKey, ...]

    def __init__(self, token: object, payload: object, signers: tuple[TrustedKey, ...]) -> None:
        """Keep what the verifier found; see ``_verified``."""
        if token is not _TOKEN:
            msg = f"a {type(self).__name__} is made by verification only: call Verifier.verify"
            raise TypeError(msg)
        object.__setattr__(self, "_payload", payload)
        object.__setattr__(self, "_signers", signers)

    @property
    def signers(self) -> tuple[str, ...]:
        """The ids of the keys whose signatures count."""
        return tuple([trusted.key.keyid for trusted in self._signers])

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        msg = f"a {type(self).__name__} does not change: {name}"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __copy__(self) -> "_Verified":
        return self

    def __deepcopy__(self, _memo: object) -> "_Verified":
        return self

    def __reduce__(self) -> NoReturn:
        # A pickle can be edited, so it cannot carry the promise. Keep the file's bytes and verify them again.
        msg = f"a {type(self).__name__} cannot be pickled; keep the licence file and verify it again"
        raise TypeError(msg)


class VerifiedLicense(_Verified):
    """A licence that passed every step for this machine and user at one instant. Immutable.

    Ends are exclusive instants in UTC; ``user`` is ``None`` for floating products; ``signers`` are the ids of
    the keys that count.
    """

    __slots__ = ()
    _payload: LicensePayload

    @property
    def license_id(self) -> str:
        """The licence's UUID."""
        return self._payload.license_id

    @property
    def product(self) -> str:
        """The product code, such as ``KSE``."""
        return self._payload.product

    @property
    def organization_id(self) -> str:
        """The UUID of the organisation that holds the licence."""
        return self._payload.organization_id

    @property
    def organization_name(self) -> str:
        """The name of the organisation that holds the licence."""
        return self._payload.organization_name

    @property
    def user(self) -> str | None:
        """The user of a named seat, ``None`` for floating products."""
        return self._payload.user

    @property
    def subscription_id(self) -> str:
        """The UUID of the subscription that the licence was converted from."""
        return self._payload.subscription_id

    @property
    def term(self) -> str:
        """The subscription's term, such as ``annual``."""
        return self._payload.term

    @property
    def starts_at(self) -> datetime:
        """The start of the subscription: the licence counts from here."""
        return self._payload.starts_at

    @property
    def ends_at(self) -> datetime:
        """The end of the subscription, exclusive."""
        return self._payload.ends_at

    @property
    def machine_id(self) -> str:
        """The machine ID the licence is bound to."""
        return self._payload.machine_id

    @property
    def sessions(self) -> int:
        """How many parallel sessions on this machine the licence covers."""
        return self._payload.sessions

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the vendor put into the licence."""
        return self._payload.features

    @property
    def issued_at(self) -> datetime:
        """When the licence was issued."""
        return self._payload.issued_at

    @property
    def expires_at(self) -> datetime:
        """When the licence ends, exclusive."""
        return self._payload.expires_at

    @property
    def policy(self) -> str:
        """The digest of the policy under which the licence was issued."""
        return self._payload.policy

    def days_left(self, now: datetime) -> int:
        """Return the whole days from ``now`` until the end; 0 on the last day and afterwards."""
        return max(0, (self.expires_at - now) // timedelta(days=1))

    def to_dict(self) -> dict[str, object]:
        """Return the signed content, keys in the order of the specification."""
        return self._payload.to_dict()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifiedLicense) and self._payload == other._payload

    def __hash__(self) -> int:
        return hash(self._payload)

    def __repr__(self) -> str:
        # No user, no organisation, no machine: a repr ends up in logs.
        return f"<VerifiedLicense {self.product} {self.license_id} until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


class VerifiedTestLicense(_Verified):
    """A test licence that is for this machine and user: it entitles to nothing. Immutable."""

    __slots__ = ()
    _payload: MachineTestPayload

    @property
    def test_id(self) -> str:
        """The test licence's UUID."""
        return self._payload.test_id

    @property
    def product(self) -> str:
        """The product code, such as ``KSE``."""
        return self._payload.product

    @property
    def organization_id(self) -> str:
        """The UUID of the organisation."""
        return self._payload.organization_id

    @property
    def organization_name(self) -> str:
        """The name of the organisation."""
        return self._payload.organization_name

    @property
    def machine_id(self) -> str:
        """The machine ID that was tested."""
        return self._payload.machine_id

    @property
    def issued_at(self) -> datetime:
        """When the test licence was made."""
        return self._payload.issued_at

    @property
    def expires_at(self) -> datetime:
        """When the test licence ends, exclusive."""
        return self._payload.expires_at

    def to_dict(self) -> dict[str, object]:
        """Return the signed content, keys in the order of the specification."""
        return self._payload.to_dict()

    def __repr__(self) -> str:
        return f"<VerifiedTestLicense {self.product} {self.test_id} until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


class VerifiedLease(_Verified):
    """A lease that passed every step for this machine and user at one instant: one online session. Immutable."""

    __slots__ = ()
    _payload: LeasePayload

    @property
    def session_id(self) -> str:
        """The UUID of the session."""
        return self._payload.session_id

    @property
    def product(self) -> str:
        """The product code, such as ``KRE``."""
        return self._payload.product

    @property
    def organization_id(self) -> str:
        """The UUID of the organisation that holds the seat."""
        return self._payload.organization_id

    @property
    def organization_name(self) -> str:
        """The name of the organisation that holds the seat."""
        return self._payload.organization_name

    @property
    def user(self) -> str | None:
        """The user the session belongs to, ``None`` where a program holds it with an API key."""
        return self._payload.user

    @property
    def machine_id(self) -> str:
        """The machine ID that the session began with."""
        return self._payload.machine_id

    @property
    def issued_at(self) -> datetime:
        """When the lease was issued, by the server's clock."""
        return self._payload.issued_at

    @property
    def renew_after(self) -> datetime:
        """From when on it should be renewed."""
        return self._payload.renew_after

    @property
    def expires_at(self) -> datetime:
        """When the lease ends, exclusive."""
        return self._payload.expires_at

    def __repr__(self) -> str:
        return f"<VerifiedLease {self.product} {self.session_id} until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


def verified_license(payload: LicensePayload, signers: tuple[TrustedKey, ...]) -> VerifiedLicense:
    """Make a verified licence. For the verifier only, after its last step."""
    return VerifiedLicense(_TOKEN, payload, signers)


def verified_test_license(payload: MachineTestPayload, signers: tuple[TrustedKey, ...]) -> VerifiedTestLicense:
    """Make a verified test licence. For the verifier only, after its last step."""
    return VerifiedTestLicense(_TOKEN, payload, signers)


def verified_lease(payload: LeasePayload, signers: tuple[TrustedKey, ...]) -> VerifiedLease:
    """Make a verified lease. For ``verify_lease`` only, after its last step."""
    return VerifiedLease(_TOKEN, payload, signers)


class Check(NamedTuple):
    """One verification step in a report. ``ok`` and ``code`` are ``None`` where an earlier step had failed."""

    name: str
    ok: bool | None
    code: ReasonCode | None
    detail: str


class Report(NamedTuple):
    """What every step said. ``license`` is there only where ``valid`` is true."""

    valid: bool
    code: ReasonCode
    checks: tuple[Check, ...]
    license: VerifiedLicense | VerifiedTestLicense | None
    next: str

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values, as ``keyseat verify --json`` prints them."""
        return {
            "valid": self.valid,
            "code": str(self.code),
            "checks": [
                check._asdict() | {"code": None if check.code is None else str(check.code)} for check in self.checks
            ],
            "license": None if self.license is None else self.license.to_dict(),
            "next": self.next,
        }
