"""The API's table of next steps, for programs of customers and whoever reads their logs: no command of the vendor."""

from keyseat_issuer.causes import Cause
from keyseat_issuer.steps import UNATTENDED, NextSteps
from keyseat_shared.codes import NEXT_STEPS, ReasonCode

_LATER = "Try again in some minutes. If it stays so, tell whoever runs this server: only they can help."

_BY_CODE = {
    **NEXT_STEPS,
    **dict.fromkeys(UNATTENDED, _LATER),
    ReasonCode.ALREADY_EXISTS: "Use what there is.",
    ReasonCode.MACHINE_WEAK: "Get a machine ID with stronger evidence, or accept it knowingly with `accept_weak`.",
    ReasonCode.NOT_A_MEMBER: "Ask an owner or admin of the organisation to invite the user.",
    ReasonCode.NOT_CONFIRMED: "Ask for a preview, read it, and send its confirmation.",
    ReasonCode.NOT_FOUND: "Check the id; the list of such things shows what there is.",
    ReasonCode.TRUST_ROLLBACK: "Do it again: rules or keys were changed at the same time.",
}

_BY_CAUSE = {
    Cause.ACCOUNT_SHUT_OFF: "Ask whoever runs this server to let it sign in again.",
    Cause.ACCOUNT_UNKNOWN: "Check the address.",
    Cause.API_KEY_FOR_NAMED: "Sign in as the user: an access token of theirs activates it.",
    Cause.ADDRESS_CLAIMED: NEXT_STEPS[ReasonCode.ADDRESS_UNPROVEN],
    Cause.API_KEY_UNKNOWN: _BY_CODE[ReasonCode.NOT_FOUND],
    Cause.BUNDLE_CHANGED_MEANWHILE: _BY_CODE[ReasonCode.TRUST_ROLLBACK],
    Cause.BUNDLE_STALE: _LATER,
    Cause.ENDS_NOT_WHOLE_YEARS: "Choose {ends[0]} or {ends[1]}.",
    Cause.ENDS_TOO_LATE: "Choose {ends} at the latest.",
    Cause.FILE_EXISTS: "Choose another name.",
    Cause.HOLDER_LACKING: "Send whose it is as `user`.",
    Cause.HOLDER_NOT_FOR_FLOATING: "Leave `user` out.",
    Cause.INVITATION_UNKNOWN: _BY_CODE[ReasonCode.NOT_FOUND],
    Cause.ISSUER_MISSING: _LATER,
    Cause.LAST_OWNER: "Make somebody else an owner first.",
    Cause.LEDGER_NOT_MIGRATED: _LATER,
    Cause.LEDGER_TIME_OR_CLOCK: _LATER,
    Cause.LICENSE_ID_MALFORMED: "The list of offline licences shows the ids.",
    Cause.LICENSE_UNKNOWN: _BY_CODE[ReasonCode.NOT_FOUND],
    Cause.MACHINE_BOUND: "Download the file of that licence again.",
    Cause.MEMBERS_UNKNOWN: "Invite the person first.",
    Cause.MEMBER_ALREADY: "Change the member's role, if it should be another one.",
    Cause.MEMBER_UNKNOWN: "Invite the person first.",
    Cause.OFFLINE_ISSUED_ELSEWHERE: "Ask your vendor's Customer Success team: they issue offline licences.",
    Cause.ORGANIZATION_AMBIGUOUS: "Send the organisation's id.",
    Cause.ORGANIZATION_UNKNOWN: "GET /api/v1/organizations lists yours.",
    Cause.OVERLOADED: "Try again in a few seconds.",
    Cause.PRODUCT_NEVER_BOUGHT: "Check the product's code, or ask your vendor for a subscription to it.",
    Cause.SEATS_HELD: "Try again in a minute. If it stays: somebody's command or server stands still in the middle of"
    " an act.",
    Cause.SEAT_NOT_HELD: "Look at the list of seats again: it may have been taken back meanwhile.",
    Cause.SESSIONS_NOT_FOR_NAMED: "Leave `sessions` out.",
    Cause.SEVERAL_ORGANIZATIONS: "Send the id of one of them as `organization`.",
    Cause.SIGNED_BUT_UNVERIFIABLE: _LATER,
    Cause.SUBSCRIPTION_UNKNOWN: "Send the id of one of its subscriptions to the product, or leave it out.",
    Cause.TOKEN_REFUSED: "Sign in again, or send an API key.",
}

STEPS = NextSteps(_BY_CODE, _BY_CAUSE, only_ours=UNATTENDED)
"""What to do next about every refusal that an answer of the service tells."""
