"""The API's table of next steps, for programs of customers and whoever reads their logs: no command of the vendor."""

from keyseat_issuer.causes import Cause
from keyseat_issuer.steps import CUSTOMERS_BY_CAUSE, CUSTOMERS_BY_CODE, UNATTENDED, NextSteps
from keyseat_shared.codes import ReasonCode

_BY_CODE = {
    **CUSTOMERS_BY_CODE,
    ReasonCode.ALREADY_EXISTS: "Use what there is.",
    ReasonCode.MACHINE_WEAK: "Get a machine ID with stronger evidence, or accept it knowingly with `accept_weak`.",
    ReasonCode.NOT_A_MEMBER: "Ask an owner or admin of the organisation to invite the user.",
    ReasonCode.NOT_CONFIRMED: "Ask for a preview, read it, and send its confirmation.",
    ReasonCode.NOT_FOUND: "Check the id; the list of such things shows what there is.",
}

_BY_CAUSE = {
    **CUSTOMERS_BY_CAUSE,
    Cause.API_KEY_FOR_NAMED: "Sign in as the user: an access token of theirs activates it.",
    Cause.API_KEY_UNKNOWN: _BY_CODE[ReasonCode.NOT_FOUND],
    Cause.HOLDER_LACKING: "Send whose it is as `user`.",
    Cause.HOLDER_NOT_FOR_FLOATING: "Leave `user` out.",
    Cause.INVITATION_UNKNOWN: _BY_CODE[ReasonCode.NOT_FOUND],
    Cause.LICENSE_ID_MALFORMED: "The list of offline licences shows the ids.",
    Cause.LICENSE_UNKNOWN: _BY_CODE[ReasonCode.NOT_FOUND],
    Cause.MEMBER_ALREADY: "Change the member's role, if it should be another one.",
    Cause.ORGANIZATION_AMBIGUOUS: "Send the organisation's id.",
    Cause.ORGANIZATION_UNKNOWN: "GET /api/v1/organizations lists yours.",
    Cause.PRODUCT_NEVER_BOUGHT: "Check the product's code, or ask your vendor for a subscription to it.",
    Cause.SEAT_NOT_HELD: "Look at the list of seats again: it may have been taken back meanwhile.",
    Cause.SESSIONS_NOT_FOR_NAMED: "Leave `sessions` out.",
    Cause.SEVERAL_ORGANIZATIONS: "Send the id of one of them as `organization`.",
    Cause.SUBSCRIPTION_UNKNOWN: "Send the id of one of its subscriptions to the product, or leave it out.",
    Cause.TOKEN_REFUSED: "Sign in again, or send an API key.",
}

STEPS = NextSteps(_BY_CODE, _BY_CAUSE, only_ours=UNATTENDED)
"""What to do next about every refusal that an answer of the service tells."""
