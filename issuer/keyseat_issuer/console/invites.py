"""Inviting people: several addresses at once, the outcome for each, and the invitations that wait."""

from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from keyseat_issuer.console.password_again import forget_suspended, proof_of
from keyseat_issuer.console.people import choices
from keyseat_issuer.console.visits import Visit, common, page, told
from keyseat_issuer.ledger.customers import address_list, invitations
from keyseat_issuer.ledger.customers.invitations import Invited
from keyseat_issuer.ledger.customers.member_guards import may_invite
from keyseat_issuer.ledger.models import Invitation, Role
from keyseat_issuer.web import invitation_limits, invitation_links, invitation_mail
from keyseat_issuer.web.accounts import with_account
from keyseat_issuer.web.mail import sends_for_real
from keyseat_issuer.web.origin import origin_of
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_STATUS = {ReasonCode.INVALID_INPUT: HTTPStatus.BAD_REQUEST, ReasonCode.NOT_ALLOWED: HTTPStatus.FORBIDDEN}


class Typed(NamedTuple):
    """The content of the form."""

    emails: str
    role: str


@page("console_invite", "GET", "POST")
def invite(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the form, or invite everybody in it; where one address cannot be invited, nobody is."""
    if request.method != "POST":
        forget_suspended(request)
        return _show(request, visit, Typed("", Role.MEMBER))
    typed = Typed(request.POST.get("emails", ""), request.POST.get("role", ""))
    if typed.role not in Role.values:
        return _show(request, visit, typed, HTTPStatus.BAD_REQUEST, fault="Choose a role.")
    try:
        listed = [entry.email or entry.typed for entry in address_list.read(typed.emails)]
        made = _make(request, visit, listed, Role(typed.role))
    except KeyseatError as error:
        status = _STATUS.get(error.code, HTTPStatus.CONFLICT)
        if "retry_after" in error.details:
            status = HTTPStatus.TOO_MANY_REQUESTS
        return _show(request, visit, typed, status, fault=told(error), lines=error.details.get("lines", []))
    return _deliver(request, visit, made, Role(typed.role))


@page("console_invitation_again", "POST")
def send_again(request: HttpRequest, visit: Visit, invitation_id: UUID) -> HttpResponse:
    """Send a new link in place of one that waits; the old one stops working."""
    row = _find(visit, invitation_id)
    if row is None:
        return _gone(request, visit)
    role = Role(row.role)
    try:
        made = _make(request, visit, [row.email], role)
    except KeyseatError as error:
        messages.error(request, _first_line(error))
    else:
        return _deliver(request, visit, made, role)
    return redirect("console_members", visit.organization.pk)


@page("console_invitation_withdraw", "POST")
def withdraw(request: HttpRequest, visit: Visit, invitation_id: UUID) -> HttpResponse:
    """Take an invitation back: its link stops working at once."""
    row = _find(visit, invitation_id)
    if row is None:
        return _gone(request, visit)
    guard = may_invite(visit.organization, visit.user.email, proof=proof_of(request))
    try:
        invitations.withdraw(visit.organization, row.email, actor=visit.actor, now=visit.now, guard=guard)
    except KeyseatError as error:
        messages.error(request, told(error))
    else:
        messages.success(request, f"The invitation of {row.email} was taken back: its link works no more.")
    return redirect("console_members", visit.organization.pk)


def _make(request: HttpRequest, visit: Visit, emails: list[str], role: Role) -> list[Invited]:
    invitation_limits.require(visit.organization, emails, visit.now)
    return invitations.invite(
        visit.organization,
        emails,
        role,
        with_account=with_account,
        actor=visit.actor,
        now=visit.now,
        guard=may_invite(visit.organization, visit.user.email, proof=proof_of(request)),
    )


def _deliver(request: HttpRequest, visit: Visit, made: list[Invited], role: Role) -> HttpResponse:
    """Send the links, or show them where this server sends no mail, and tell what became of each address.

    Where mail is sent, who invites sees no link: it makes an account in the invited person's name.
    """
    invited = [entry.email for entry in made if entry.role == role]
    if invited:
        messages.success(request, f"Invited as {role}: {', '.join(invited)}. A link works once, for 24 hours.")
    for entry in made:
        if entry.role != role:
            messages.info(request, f"{entry.email} is {entry.role} already and stays so: the link makes the account.")
    if not sends_for_real():
        return _hand_over(request, visit, made)
    failed = invitation_mail.send_from_a_page(visit.organization, made, origin_of(request))
    if failed is None:
        messages.info(request, "The mails are on their way. Send one again if it has not arrived in some minutes.")
    elif failed:
        messages.warning(request, f"No mail could be sent to {', '.join(failed)}. Try “Send again” later.")
    return redirect("console_members", visit.organization.pk)


def _hand_over(request: HttpRequest, visit: Visit, made: list[Invited]) -> HttpResponse:
    shown = invitation_links.show(
        visit.organization, made, origin=origin_of(request), role=visit.role, actor=visit.actor, now=visit.now
    )
    context = common(visit, "members") | {"links": list(shown.links.items()), "withheld": shown.withheld}
    response = render(request, "console/invitation_links.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _show(
    request: HttpRequest,
    visit: Visit,
    typed: Typed,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    fault: str = "",
    lines: Any = (),  # noqa: ANN401 - details of a refusal are JSON
) -> HttpResponse:
    context = common(visit, "members") | {
        "typed": typed,
        "choices": choices(visit, typed.role),
        "most": invitations.MOST_AT_ONCE,
        "fault": fault,
        "lines": lines,
    }
    return render(request, "console/invite.html", context, status=status)


def _first_line(error: KeyseatError) -> str:
    lines = error.details.get("lines")
    return f"{lines[0]['email']} {lines[0]['note']}." if isinstance(lines, list) else told(error)


def _find(visit: Visit, invitation_id: UUID) -> Invitation | None:
    return visit.organization.invitations.filter(pk=invitation_id, accepted_at__isnull=True).first()


def _gone(request: HttpRequest, visit: Visit) -> HttpResponse:
    messages.warning(request, "That invitation waits no more: it was accepted, replaced or taken back.")
    return redirect("console_members", visit.organization.pk)
