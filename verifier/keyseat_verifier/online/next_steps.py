"""The client's own next steps for what a server refuses: what helps here depends on this side, not on the server's."""

from keyseat_shared.codes import NEXT_STEPS, ReasonCode

_LATER = "Try again in some minutes. If it stays so, tell whoever runs the licence server: only they can help."

BY_CODE = {
    ReasonCode.LEDGER_UNAVAILABLE: _LATER,
    ReasonCode.KEY_UNAVAILABLE: _LATER,
    ReasonCode.AUDIT_BROKEN: _LATER,
    ReasonCode.CLOCK_ROLLED_BACK: _LATER,
    ReasonCode.CLOCK_AHEAD: _LATER,
    ReasonCode.TRUST_INVALID: _LATER,
    ReasonCode.TRUST_STALE: _LATER,
    ReasonCode.TRUST_ROLLBACK: _LATER,
    ReasonCode.EXAMPLE_KEY: _LATER,
    ReasonCode.UNREADABLE: _LATER,
    ReasonCode.ALGORITHM_UNAVAILABLE: _LATER,
    ReasonCode.SIGN_IN_TOO_OLD: "Sign in again with `keyseat login`.",
}
"""Words of ours for a code, whatever the server advises: an older one sends its operator's commands to everybody."""

BY_REASON = {
    (ReasonCode.NOT_ALLOWED, "missing"): "Sign in with `keyseat login`, or set KEYSEAT_API_KEY_FILE (or"
    " KEYSEAT_API_KEY) to your organisation's API key.",
    (ReasonCode.NOT_ALLOWED, "unknown"): "Sign in again with `keyseat login`. If an API key is set, ask an owner or"
    " admin of your organisation for a new one.",
    (ReasonCode.NOT_ALLOWED, "named"): "Sign in as the user with `keyseat login`.",
}
"""Words of ours for a code and the finer reason in its details, ``reason``."""

SERVERS_WORDS = frozenset(
    {
        ReasonCode.MALFORMED,
        ReasonCode.UNSUPPORTED_FORMAT,
        ReasonCode.INVALID_INPUT,
        ReasonCode.NOT_FOUND,
        ReasonCode.NOT_ALLOWED,
        ReasonCode.NOT_A_MEMBER,
        ReasonCode.NOT_ASSIGNED,
        ReasonCode.SEAT_LOCKED_OFFLINE,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.SUBSCRIPTION_ENDED,
        ReasonCode.NOT_YET_VALID,
        ReasonCode.LEASE_ENDED,
        ReasonCode.MACHINE_MISMATCH,
        ReasonCode.MACHINE_WEAK,
        ReasonCode.NO_MACHINE_EVIDENCE,
        ReasonCode.INTERNAL,
    }
)
"""Codes about which the server knows more: who can assign a seat, when the next one is free, what a field lacks."""


def next_step_of(code: ReasonCode, details: object, sent: str) -> str:
    """Return what to do next about a refusal; ``details`` and ``sent``, its advice or empty, are the server's."""
    reason = details.get("reason") if type(details) is dict else None
    own = BY_REASON.get((code, reason)) if type(reason) is str else None
    return own or BY_CODE.get(code) or sent or NEXT_STEPS[code]
