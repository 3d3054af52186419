"""What an ``except`` of each public error gives, and which error is a kind of which. Never run."""

from typing import assert_type

from keyseat_verifier import (
    ClockError,
    CouldNotVerifyError,
    InvalidLicenseError,
    KeyseatError,
    LicenseClient,
    MachineError,
    MalformedError,
    NotEntitled,
    PassedOver,
    ReasonCode,
    RuleError,
    TrustBundle,
    TrustError,
    UntrustedError,
    VerificationError,
    Verifier,
)


def every_error(error: KeyseatError) -> None:
    assert_type(error.code, ReasonCode)
    assert_type(error.message, str)
    assert_type(error.details, dict[str, object])
    assert_type(error.next_step, str)
    assert_type(error.to_dict(), dict[str, object])


def refusal(client: LicenseClient) -> None:
    try:
        client.check()
    except NotEntitled as error:
        every_error(error)
        assert_type(error.reasons, tuple[PassedOver, ...])


def bundle(path: str) -> None:
    try:
        TrustBundle.load(path)
    except TrustError as error:
        every_error(error)


def verdict(verifier: Verifier, data: bytes) -> str:
    try:
        return verifier.verify(data, machine="mid1").license_id
    except CouldNotVerifyError as error:  # neither yes nor no
        assert_type(error.step, str)
        return error.next_step
    except InvalidLicenseError as error:
        assert_type(error.step, str)
        return error.code


def answers_no(error: MalformedError | UntrustedError | RuleError | MachineError | ClockError) -> InvalidLicenseError:
    return error


def neither_yes_nor_no(error: CouldNotVerifyError) -> VerificationError:
    return error
