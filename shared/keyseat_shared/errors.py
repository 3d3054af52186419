"""The error tree of both sides: every error carries a reason code, details and a next step."""

from collections.abc import Mapping

from keyseat_shared.codes import NEXT_STEPS, ReasonCode


class KeyseatError(Exception):
    """A refusal or failure with its reason ``code``, ``details`` for machines and a ``next_step`` for people.

    ``message`` says in one sentence what is wrong; it never holds secrets, raw serials or passphrases. ``cause`` is a
    word of whoever raises, for faces that have a next step of their own about it; it is shown nowhere.
    """

    def __init__(
        self,
        code: ReasonCode,
        message: str,
        *,
        details: Mapping[str, object] | None = None,
        next_step: str | None = None,
        cause: str = "",
    ) -> None:
        """Keep the parts; ``next_step`` defaults to the code's own."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: dict[str, object] = dict(details or {})
        self.next_step = NEXT_STEPS[code] if next_step is None else next_step
        self.cause = cause

    def to_dict(self) -> dict[str, object]:
        """Return the error as JSON-ready values: ``code``, ``message``, ``details``, ``next``."""
        return {"code": str(self.code), "message": self.message, "details": self.details, "next": self.next_step}

    def __str__(self) -> str:
        """Return ``CODE: message``."""
        return f"{self.code}: {self.message}"


class MisuseError(TypeError):
    """The program's own mistake: a naive instant, or text in place of bytes. It says nothing about a licence."""


class VerificationError(KeyseatError):
    """A licence file did not pass. ``step`` names the verification step that stopped it (set by the verifier)."""

    step: str = ""


class InvalidLicenseError(VerificationError):
    """The file is not valid here: the answer is no."""


class MalformedError(InvalidLicenseError):
    """The bytes are not a file of the expected format (``MALFORMED``, ``UNSUPPORTED_FORMAT``)."""


class UntrustedError(InvalidLicenseError):
    """The signature or its key does not count (``UNKNOWN_KEY``, ``BAD_SIGNATURE``, ``KEY_NOT_VALID``, ...)."""


class RuleError(InvalidLicenseError):
    """One of the vendor's rules is broken (``NOT_ANNUAL``, ``ISSUED_AFTER_SUNSET``, ``EXPIRED``, ...)."""


class MachineError(InvalidLicenseError):
    """The file is for another machine or user (``MACHINE_MISMATCH``, ``USER_MISMATCH``)."""


class ClockError(InvalidLicenseError):
    """The clock was set back (``CLOCK_ROLLED_BACK``), or is ahead of another one (``CLOCK_AHEAD``)."""


class CouldNotVerifyError(VerificationError):
    """The check could not be made (``MACHINE_INDETERMINATE``, ``UNREADABLE``): neither yes nor no."""


class TrustError(KeyseatError):
    """A trust bundle cannot be used (``TRUST_INVALID``, ``TRUST_ROLLBACK``, ``EXAMPLE_KEY``)."""


def as_trust_error(error: KeyseatError) -> KeyseatError:
    """Return a refusal as the class that ``TrustBundle`` documents."""
    return error if isinstance(error, TrustError) else _as(TrustError, error)


def as_verification_error(error: KeyseatError) -> KeyseatError:
    """Return a refusal as a class that ``Verifier`` documents; one of another class says neither yes nor no."""
    return error if isinstance(error, VerificationError) else _as(CouldNotVerifyError, error)


def _as(kind: type[KeyseatError], error: KeyseatError) -> KeyseatError:
    return kind(error.code, error.message, details=error.details, next_step=error.next_step, cause=error.cause)
