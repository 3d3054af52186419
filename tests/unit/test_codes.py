"""Reason codes and the error tree: each refusal has a stable word, a next step and an exit code."""

import pytest

from keyseat_shared import errors
from keyseat_shared.codes import COULD_NOT_CHECK, NEXT_STEPS, ReasonCode, exit_code
from keyseat_shared.errors import KeyseatError

# Design, section 11: none of these may vanish or change its spelling.
CONTRACT = """
OK MALFORMED UNSUPPORTED_FORMAT UNKNOWN_KEY BAD_SIGNATURE MISSING_SIGNATURE KEY_NOT_VALID KEY_COMPROMISED EXAMPLE_KEY
WRONG_PRODUCT TEST_LICENSE NOT_ANNUAL ISSUED_AFTER_SUNSET NOT_YET_VALID EXPIRED EXPIRY_AFTER_SUBSCRIPTION EXPIRY_IN_PAST
MACHINE_MISMATCH USER_MISMATCH MACHINE_INDETERMINATE MACHINE_WEAK CLOCK_ROLLED_BACK NOT_LOGGED_PROOF NO_LICENSE
QUOTA_EXCEEDED SESSIONS_EXCEEDED NOT_ASSIGNED NOT_A_MEMBER SEAT_LOCKED_OFFLINE SUBSCRIPTION_ENDED ALREADY_BOUND
NOT_ALLOWED SERVER_UNREACHABLE LEASE_ENDED TRUST_INVALID TRUST_ROLLBACK
""".split()  # noqa: SIM905 - compared by eye with the design's list


def test_every_code_of_the_contract_exists() -> None:
    assert [code for code in CONTRACT if code not in ReasonCode.__members__] == []


@pytest.mark.parametrize("code", ReasonCode)
def test_every_code_is_its_own_name_and_has_a_next_step(code: ReasonCode) -> None:
    assert code.name == code.value == f"{code}"
    assert NEXT_STEPS[code].endswith(".")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (ReasonCode.OK, 0),
        (ReasonCode.EXPIRED, 1),
        (ReasonCode.MALFORMED, 1),
        (ReasonCode.QUOTA_EXCEEDED, 1),
        (ReasonCode.INVALID_INPUT, 2),
        (ReasonCode.TRUST_INVALID, 3),
        (ReasonCode.SERVER_UNREACHABLE, 3),
        (ReasonCode.MACHINE_INDETERMINATE, 3),
        (ReasonCode.NO_MACHINE_EVIDENCE, 4),
    ],
)
def test_exit_codes_tell_yes_no_wrong_usage_and_could_not_check_apart(code: ReasonCode, expected: int) -> None:
    assert expected == exit_code(code)


def test_what_could_not_be_checked_is_never_a_plain_no() -> None:
    assert {3} == {exit_code(code) for code in COULD_NOT_CHECK}


def test_an_error_tells_code_message_details_and_next_step() -> None:
    error = KeyseatError(ReasonCode.EXPIRED, "it has expired", details={"at": "2024-06-01T00:00:00Z"})
    assert str(error) == "EXPIRED: it has expired"
    assert {
        "code": "EXPIRED",
        "message": "it has expired",
        "details": {"at": "2024-06-01T00:00:00Z"},
        "next": NEXT_STEPS[ReasonCode.EXPIRED],
    } == error.to_dict()


def test_a_place_may_know_a_better_next_step() -> None:
    assert KeyseatError(ReasonCode.EXPIRED, "it has expired", next_step="Renew it.").next_step == "Renew it."


def test_the_details_are_a_copy() -> None:
    details = {"a": 1}
    error = KeyseatError(ReasonCode.EXPIRED, "it has expired", details=details)
    details["a"] = 2
    assert error.details == {"a": 1}


def test_not_valid_and_could_not_check_are_different_errors() -> None:
    assert issubclass(errors.InvalidLicenseError, errors.VerificationError)
    assert issubclass(errors.CouldNotVerifyError, errors.VerificationError)
    assert not issubclass(errors.CouldNotVerifyError, errors.InvalidLicenseError)
    assert not issubclass(errors.TrustError, errors.VerificationError)
