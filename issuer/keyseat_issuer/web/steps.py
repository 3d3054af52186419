"""The pages' table of next steps, for people at a browser: what they can do there, and no command."""

from keyseat_issuer.causes import Cause
from keyseat_issuer.steps import UNATTENDED, NextSteps
from keyseat_shared.codes import NEXT_STEPS, ReasonCode

_LATER = "Try again in some minutes. If it stays so, tell whoever runs this server: only they can help."
_LIST = "It may have ended meanwhile: look at the list again."

_BY_CODE = {
    **NEXT_STEPS,
    **dict.fromkeys(UNATTENDED, _LATER),
    ReasonCode.ALREADY_EXISTS: "Nothing has to be done.",
    ReasonCode.NOT_A_MEMBER: "Invite the person first.",
    ReasonCode.NOT_ASSIGNED: "Somebody may have taken it back meanwhile: look at the list again.",
    ReasonCode.NOT_FOUND: _LIST,
    ReasonCode.TRUST_ROLLBACK: "Do it again: rules or keys were changed at the same time.",
}

_BY_CAUSE = {
    Cause.ACCOUNT_SHUT_OFF: "Ask whoever runs this server to let it sign in again.",
    Cause.ACCOUNT_UNKNOWN: "Check the address.",
    Cause.ADDRESS_CLAIMED: NEXT_STEPS[ReasonCode.ADDRESS_UNPROVEN],
    Cause.API_KEY_UNKNOWN: _LIST,
    Cause.BUNDLE_CHANGED_MEANWHILE: _BY_CODE[ReasonCode.TRUST_ROLLBACK],
    Cause.BUNDLE_STALE: _LATER,
    Cause.ENDS_NOT_WHOLE_YEARS: "Choose {ends[0]} or {ends[1]}.",
    Cause.ENDS_TOO_LATE: "Choose {ends} at the latest.",
    Cause.FILE_EXISTS: "Choose another name.",
    Cause.HOLDER_LACKING: "Choose whose it is.",
    Cause.HOLDER_NOT_FOR_FLOATING: "Name no user.",
    Cause.INVITATION_UNKNOWN: _LIST,
    Cause.ISSUER_MISSING: _LATER,
    Cause.LAST_OWNER: "Make somebody else an owner first.",
    Cause.LEDGER_NOT_MIGRATED: _LATER,
    Cause.LEDGER_TIME_OR_CLOCK: _LATER,
    Cause.LICENSE_ID_MALFORMED: _LIST,
    Cause.LICENSE_UNKNOWN: _LIST,
    Cause.MACHINE_BOUND: "Download the file of that licence again.",
    Cause.MEMBERS_UNKNOWN: "Invite the person first.",
    Cause.MEMBER_ALREADY: "Nothing has to be done.",
    Cause.MEMBER_UNKNOWN: "Invite the person first.",
    Cause.OFFLINE_ISSUED_ELSEWHERE: "Ask your vendor's Customer Success team: they issue offline licences.",
    Cause.ORGANIZATION_AMBIGUOUS: "Look at the list of your organisations.",
    Cause.ORGANIZATION_UNKNOWN: "Look at the list of your organisations.",
    Cause.OVERLOADED: "Try again in a few seconds.",
    Cause.PRODUCT_NEVER_BOUGHT: "Ask your vendor for a subscription to the product.",
    Cause.SEATS_HELD: "Try again in a minute. If it stays: somebody's command or server stands still in the middle of"
    " an act.",
    Cause.SEAT_NOT_HELD: "Somebody may have taken it back meanwhile: look at the list again.",
    Cause.SECOND_FACTOR_UNREADABLE: "Ask whoever runs this server to forget the second factor for you; then set up a"
    " new one.",
    Cause.SESSIONS_NOT_FOR_NAMED: "Leave the number of sessions at one.",
    Cause.SIGNED_BUT_UNVERIFIABLE: _LATER,
    Cause.SUBSCRIPTION_UNKNOWN: "Choose one of the organisation's subscriptions again.",
}

STEPS = NextSteps(_BY_CODE, _BY_CAUSE, only_ours=UNATTENDED)
"""What to do next about every refusal that a page tells."""
