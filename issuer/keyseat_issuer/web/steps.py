"""The pages' table of next steps, for people at a browser: what they can do there, and no command."""

from keyseat_issuer.causes import Cause
from keyseat_issuer.steps import CUSTOMERS_BY_CAUSE, CUSTOMERS_BY_CODE, UNATTENDED, NextSteps
from keyseat_shared.codes import ReasonCode

_LIST = "It may have ended meanwhile: look at the list again."

_BY_CODE = {
    **CUSTOMERS_BY_CODE,
    ReasonCode.ALREADY_EXISTS: "Nothing has to be done.",
    ReasonCode.NOT_A_MEMBER: "Invite the person first.",
    ReasonCode.NOT_ASSIGNED: "Somebody may have taken it back meanwhile: look at the list again.",
    ReasonCode.NOT_FOUND: _LIST,
}

_BY_CAUSE = {
    **CUSTOMERS_BY_CAUSE,
    Cause.API_KEY_UNKNOWN: _LIST,
    Cause.HOLDER_LACKING: "Choose whose it is.",
    Cause.HOLDER_NOT_FOR_FLOATING: "Name no user.",
    Cause.INVITATION_UNKNOWN: _LIST,
    Cause.LICENSE_ID_MALFORMED: _LIST,
    Cause.LICENSE_UNKNOWN: _LIST,
    Cause.MEMBER_ALREADY: "Nothing has to be done.",
    Cause.ORGANIZATION_AMBIGUOUS: "Look at the list of your organisations.",
    Cause.ORGANIZATION_UNKNOWN: "Look at the list of your organisations.",
    Cause.PRODUCT_NEVER_BOUGHT: "Ask your vendor for a subscription to the product.",
    Cause.SEAT_NOT_HELD: "Somebody may have taken it back meanwhile: look at the list again.",
    Cause.SECOND_FACTOR_UNREADABLE: "Ask whoever runs this server to forget the second factor for you; then set up a"
    " new one.",
    Cause.SESSIONS_NOT_FOR_NAMED: "Leave the number of sessions at one.",
    Cause.SUBSCRIPTION_UNKNOWN: "Choose one of the organisation's subscriptions again.",
}

STEPS = NextSteps(_BY_CODE, _BY_CAUSE, only_ours=UNATTENDED)
"""What to do next about every refusal that a page tells."""
