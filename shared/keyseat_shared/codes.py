"""Reason codes: the stable words in which every refusal is told, and what to do next about each."""

from enum import StrEnum


class ReasonCode(StrEnum):
    """A stable, documented reason (docs/spec/reason-codes.md). New ones may be added; none changes meaning."""

    OK = "OK"
    MALFORMED = "MALFORMED"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    MISSING_SIGNATURE = "MISSING_SIGNATURE"
    KEY_NOT_VALID = "KEY_NOT_VALID"
    KEY_COMPROMISED = "KEY_COMPROMISED"
    EXAMPLE_KEY = "EXAMPLE_KEY"
    WRONG_PRODUCT = "WRONG_PRODUCT"
    TEST_LICENSE = "TEST_LICENSE"
    NOT_ANNUAL = "NOT_ANNUAL"
    ISSUED_AFTER_SUNSET = "ISSUED_AFTER_SUNSET"
    NOT_YET_VALID = "NOT_YET_VALID"
    EXPIRED = "EXPIRED"
    EXPIRY_AFTER_SUBSCRIPTION = "EXPIRY_AFTER_SUBSCRIPTION"
    EXPIRY_IN_PAST = "EXPIRY_IN_PAST"
    MACHINE_MISMATCH = "MACHINE_MISMATCH"
    USER_MISMATCH = "USER_MISMATCH"
    MACHINE_INDETERMINATE = "MACHINE_INDETERMINATE"
    MACHINE_WEAK = "MACHINE_WEAK"
    CLOCK_ROLLED_BACK = "CLOCK_ROLLED_BACK"
    NOT_LOGGED_PROOF = "NOT_LOGGED_PROOF"
    NO_LICENSE = "NO_LICENSE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    SESSIONS_EXCEEDED = "SESSIONS_EXCEEDED"
    NOT_ASSIGNED = "NOT_ASSIGNED"
    NOT_A_MEMBER = "NOT_A_MEMBER"
    SEAT_LOCKED_OFFLINE = "SEAT_LOCKED_OFFLINE"
    SUBSCRIPTION_ENDED = "SUBSCRIPTION_ENDED"
    ALREADY_BOUND = "ALREADY_BOUND"
    NOT_ALLOWED = "NOT_ALLOWED"
    SERVER_UNREACHABLE = "SERVER_UNREACHABLE"
    LEASE_ENDED = "LEASE_ENDED"
    TRUST_INVALID = "TRUST_INVALID"
    TRUST_ROLLBACK = "TRUST_ROLLBACK"
    # Added to the design's list; see docs/adr/0002-added-reason-codes.md.
    UNREADABLE = "UNREADABLE"
    NO_MACHINE_EVIDENCE = "NO_MACHINE_EVIDENCE"
    INVALID_INPUT = "INVALID_INPUT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    NOT_CONFIRMED = "NOT_CONFIRMED"
    KEY_UNAVAILABLE = "KEY_UNAVAILABLE"
    LEDGER_UNAVAILABLE = "LEDGER_UNAVAILABLE"
    AUDIT_BROKEN = "AUDIT_BROKEN"
    CLOCK_AHEAD = "CLOCK_AHEAD"
    INTERNAL = "INTERNAL"
    ALGORITHM_UNAVAILABLE = "ALGORITHM_UNAVAILABLE"
    UNFORESEEN = "UNFORESEEN"
    TRUST_STALE = "TRUST_STALE"  # docs/adr/0013-a-bundle-can-get-stale.md
    SIGN_IN_TOO_OLD = "SIGN_IN_TOO_OLD"
    ADDRESS_UNPROVEN = "ADDRESS_UNPROVEN"  # docs/adr/0059-an-address-is-proven-before-it-gets-rights.md


NEXT_STEPS: dict[ReasonCode, str] = {
    ReasonCode.OK: "Nothing to do.",
    ReasonCode.MALFORMED: "Use the licence file exactly as it was handed out; ask Customer Success to export it again.",
    ReasonCode.UNSUPPORTED_FORMAT: "Update this software: the file was made for a newer version or another purpose.",
    ReasonCode.UNKNOWN_KEY: "Check that the file comes from your vendor, and update the trust bundle.",
    ReasonCode.BAD_SIGNATURE: "The file was changed after signing. Ask Customer Success to export it again.",
    ReasonCode.MISSING_SIGNATURE: "The trust bundle asks for more signatures. Ask Customer Success for a new file.",
    ReasonCode.KEY_NOT_VALID: "The signing key may not make this file. Ask Customer Success for a new file.",
    ReasonCode.KEY_COMPROMISED: "The signing key was revoked. Ask Customer Success for a new file, or activate online.",
    ReasonCode.EXAMPLE_KEY: "Use a trust bundle of the vendor's own keys; example keys are public.",
    ReasonCode.WRONG_PRODUCT: "Use a licence for the product you are running.",
    ReasonCode.TEST_LICENSE: "A test licence only checks the machine ID. Ask Customer Success for the real licence.",
    ReasonCode.NOT_ANNUAL: "Only annual subscriptions can be converted to an offline licence. Activate online.",
    ReasonCode.ISSUED_AFTER_SUNSET: "Offline licence generation has ended. Activate online instead.",
    ReasonCode.NOT_YET_VALID: "Wait until the start of the subscription, and check the clock of this machine.",
    ReasonCode.EXPIRED: "The offline licence has ended. Activate online.",
    ReasonCode.EXPIRY_AFTER_SUBSCRIPTION: "Choose an expiry on or before the end of the subscription.",
    ReasonCode.EXPIRY_IN_PAST: "Choose an expiry in the future.",
    ReasonCode.MACHINE_MISMATCH: "Use the licence on the machine it was issued for. `keyseat machine-id --compare FILE`"
    " shows what differs.",
    ReasonCode.USER_MISMATCH: "Sign in to this machine with the account the licence was issued for.",
    ReasonCode.MACHINE_INDETERMINATE: "Run with the privileges used when the licence was issued.",
    ReasonCode.MACHINE_WEAK: "Get a machine ID with stronger evidence, or accept it knowingly.",
    ReasonCode.CLOCK_ROLLED_BACK: "Set the clock of this machine to the right time and try again.",
    ReasonCode.NOT_LOGGED_PROOF: "Ask Customer Success for a licence with proof of logging.",
    ReasonCode.NO_LICENSE: "Put the licence file into the licence folder, or activate online.",
    ReasonCode.QUOTA_EXCEEDED: "Free a seat, wait for one to expire, or extend the subscription.",
    ReasonCode.SESSIONS_EXCEEDED: "End another session on this machine, or add a licence for more parallel sessions.",
    ReasonCode.NOT_ASSIGNED: "Ask an owner or admin of your organisation to assign you a licence.",
    ReasonCode.NOT_A_MEMBER: "Add the user to the organisation first.",
    ReasonCode.SEAT_LOCKED_OFFLINE: "The seat is bound to an offline licence and comes back when that expires.",
    ReasonCode.SUBSCRIPTION_ENDED: "Renew the subscription.",
    ReasonCode.ALREADY_BOUND: "This user already has an active licence on this machine: export it again instead.",
    ReasonCode.NOT_ALLOWED: "Ask somebody with the right role to do this.",
    ReasonCode.SERVER_UNREACHABLE: "Check the network, proxy and server address, then try again.",
    ReasonCode.LEASE_ENDED: "Activate again.",
    ReasonCode.TRUST_INVALID: "Get the trust bundle (trust.json) from your vendor again.",
    ReasonCode.TRUST_ROLLBACK: "Keep the newer trust bundle that is already in use.",
    ReasonCode.UNREADABLE: "Check that the file exists and that you may read it.",
    ReasonCode.NO_MACHINE_EVIDENCE: "Use online floating sessions, or make an instance ID with"
    " `keyseat machine-id --instance FILE` on a persistent volume.",
    ReasonCode.INVALID_INPUT: "Correct the value and try again.",
    ReasonCode.NOT_FOUND: "Check the name, or the id.",
    ReasonCode.ALREADY_EXISTS: "Use the one that exists, or choose another name.",
    ReasonCode.NOT_CONFIRMED: "Read what it does, and confirm it.",
    ReasonCode.KEY_UNAVAILABLE: "Check the key file and its passphrase.",
    ReasonCode.LEDGER_UNAVAILABLE: "Check that the database is up and migrated.",
    ReasonCode.AUDIT_BROKEN: "Keep the database as it is and find out who changed it.",
    ReasonCode.CLOCK_AHEAD: "Set the clock of this machine to the right time and try again.",
    ReasonCode.INTERNAL: "Try again; if it stays, tell the operator of the service the request id.",
    ReasonCode.ALGORITHM_UNAVAILABLE: "Update this program and its `cryptography` package (version 48 or later).",
    ReasonCode.SIGN_IN_TOO_OLD: "Sign in again, and do it within a quarter of an hour.",
    ReasonCode.ADDRESS_UNPROVEN: "Ask Customer Success for a link to a new password for this account: using it"
    " proves the address.",
    ReasonCode.UNFORESEEN: "Try again. If it stays, tell the maker of this program what the message says.",
    ReasonCode.TRUST_STALE: "Reach the licence server once, or put the newest trust.json of your vendor into the home"
    " folder; check the clock of this machine.",
}

COULD_NOT_CHECK = frozenset(
    {
        ReasonCode.MACHINE_INDETERMINATE,
        ReasonCode.SERVER_UNREACHABLE,
        ReasonCode.TRUST_INVALID,
        ReasonCode.TRUST_ROLLBACK,
        ReasonCode.TRUST_STALE,
        ReasonCode.EXAMPLE_KEY,
        ReasonCode.UNREADABLE,
        ReasonCode.KEY_UNAVAILABLE,
        ReasonCode.LEDGER_UNAVAILABLE,
        ReasonCode.INTERNAL,
        ReasonCode.ALGORITHM_UNAVAILABLE,
        ReasonCode.UNFORESEEN,
    }
)
"""Codes that mean "could not check or do it" rather than "no"; command lines exit 3 for them."""


def exit_code(code: ReasonCode) -> int:
    """Return the process exit code for a reason: 0 yes, 1 no, 2 wrong input, 3 could not check, 4 no evidence."""
    if code is ReasonCode.OK:
        return 0
    if code is ReasonCode.INVALID_INPUT:
        return 2
    if code is ReasonCode.NO_MACHINE_EVIDENCE:
        return 4
    return 3 if code in COULD_NOT_CHECK else 1
