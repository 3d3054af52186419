"""The members of an organisation: who they are, what they hold, their roles, removal, and who owns it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html

from keyseat_issuer.console.password_again import password_again, proof_of
from keyseat_issuer.console.tables import shown
from keyseat_issuer.console.templatetags.console import short_id, through
from keyseat_issuer.console.visits import Visit, common, page, told
from keyseat_issuer.ledger.customers import api_keys, invitations, members
from keyseat_issuer.ledger.customers.member_guards import may_change
from keyseat_issuer.ledger.customers.rights import MANAGERS, manageable_by, require_manageable
from keyseat_issuer.ledger.models import AllocationKind, Membership, Role
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.web.accounts import of_members
from keyseat_shared.errors import KeyseatError

ROLES = {
    Role.OWNER: "Everything, and handing the organisation over.",
    Role.ADMIN: "Licences, members and API keys; not the roles of owners and admins.",
    Role.BILLING: "Sees what was bought.",
    Role.MEMBER: "Sees their own licence.",
}
"""What each role may, in the words of the pages."""


class Choice(NamedTuple):
    """A role to choose. ``chosen``: it is set already."""

    role: str
    meaning: str
    chosen: bool


class Person(NamedTuple):
    """A member as the pages show it. ``account``: ``yes``, ``no``, or ``shut off`` by the vendor."""

    member: Membership
    name: str
    account: str
    held: list[seats.Seat]


@page("console_members", "GET")
def members_page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """List the members, owners first, and the invitations that wait."""
    search = request.GET.get("q", "").strip().lower()[:254]
    everybody = _people(visit)
    found = [person for person in everybody if search in person.member.email or search in person.name.lower()]
    people = shown(request, "members", found)
    people.object_list = _with_seats(visit, list(people.object_list))
    context = common(visit, "members") | {
        "search": search,
        "count": len(everybody),
        "people": people,
        "invitations": shown(request, "invitations", invitations.waiting(visit.organization, visit.now)),
        "mine": manageable_by(visit.role),
    }
    return render(request, "console/members.html", context)


@page("console_member", "GET")
def member_page(request: HttpRequest, visit: Visit, member_id: UUID) -> HttpResponse:
    """Show a member, and what the visitor may do about them."""
    member = _find(visit, member_id)
    return _gone(request, visit) if member is None else _show(request, visit, member)


@page("console_member_role", "POST")
def set_role(request: HttpRequest, visit: Visit, member_id: UUID) -> HttpResponse:
    """Change a member's role; who gives their own away is asked first."""
    member = _find(visit, member_id)
    if member is None:
        return _gone(request, visit)
    typed = request.POST.get("role", "")
    if typed not in Role.values:
        return _show(request, visit, member, fault="Choose a role.")
    role = Role(typed)
    if role == member.role:
        messages.info(request, f"{member.email} is {role} already.")
        return redirect("console_member", visit.organization.pk, member.pk)
    me = member.email == visit.user.email
    if me and "confirmed" not in request.POST:
        return _ask(
            request,
            visit,
            member,
            title=f"Become {role} yourself?",
            lines=[f"You are {member.role} now.", f"As {role}: {ROLES[role]}"],
            meaning="You cannot take this back yourself.",
            fields=[("role", role)],
            verb="Change my role",
        )
    try:
        changed = members.set_role(
            visit.organization,
            member.email,
            role,
            actor=visit.actor,
            now=visit.now,
            guard=may_change(visit.organization, visit.user.email, role, proof=proof_of(request)),
        )
    except KeyseatError as error:
        messages.error(request, told(error))
    else:
        messages.success(request, f"{member.email} is now {role}.")
        _tell_what_they_gave_out(request, visit, changed.invitations, changed.api_keys)
        if me and role not in MANAGERS:
            return redirect("home")
    return redirect("console_member", visit.organization.pk, member.pk)


@page("console_member_remove", "POST")
def remove(request: HttpRequest, visit: Visit, member_id: UUID) -> HttpResponse:
    """Show what ends with a membership and what stays, then end it."""
    member = _find(visit, member_id)
    if member is None:
        return _gone(request, visit)
    me = member.email == visit.user.email
    guard = may_change(visit.organization, visit.user.email, proof=proof_of(request))
    try:
        if "confirmed" not in request.POST:
            require_manageable(visit.role, member.role)
            return _ask_about_removal(request, visit, member)
        removed = members.remove_member(visit.organization, member.email, actor=visit.actor, now=visit.now, guard=guard)
    except KeyseatError as error:
        messages.error(request, told(error))
        return redirect("console_member", visit.organization.pk, member.pk)
    freed = f" Seats that are free again: {removed.seats_freed}." if removed.seats_freed else ""
    messages.success(request, f"{removed.email} is no member any more.{freed}")
    for until in removed.offline_until:
        stays = "An offline licence stays valid, and keeps its seat, {}."
        messages.warning(request, format_html(stays, through(until)))
    _tell_what_they_gave_out(request, visit, removed.invitations, removed.api_keys)
    return redirect("home") if me else redirect("console_members", visit.organization.pk)


@page("console_ownership", "GET", "POST")
@password_again()
def hand_over(request: HttpRequest, visit: Visit, member_id: UUID) -> HttpResponse:
    """Make a member the owner, and the visitor an admin, after a look at what that means."""
    member = _find(visit, member_id)
    if member is None:
        return _gone(request, visit)
    if "confirmed" not in request.POST:
        return _ask(
            request,
            visit,
            member,
            title=f"Hand {visit.organization.name} over to {member.email}?",
            lines=[
                f"{member.email} becomes owner ({member.role} until now).",
                "You become admin: you can go on managing licences and members.",
            ],
            meaning="Only the new owner can give it back.",
            fields=[],
            verb="Hand over",
        )
    try:
        members.transfer_ownership(visit.organization, visit.user.email, member.email, actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        messages.error(request, told(error))
        return redirect("console_member", visit.organization.pk, member.pk)
    messages.success(request, f"{member.email} is now owner of {visit.organization.name}; you are admin.")
    return redirect("console_members", visit.organization.pk)


def choices(visit: Visit, chosen: str) -> list[Choice]:
    """Return the roles that the visitor may give, the least first."""
    given = manageable_by(visit.role)
    return [Choice(role, ROLES[role], role == chosen) for role in reversed(Role) if role in given]


def _people(visit: Visit, *wanted: Membership) -> list[Person]:
    """Return these members, or all, without their seats."""
    accounts = of_members(visit.organization)
    found = []
    for member in wanted or members.list_members(visit.organization):
        user = accounts.get(member.email)
        account = "no" if user is None else "yes" if user.is_active else "shut off"
        found.append(Person(member, "" if user is None else user.name, account, []))
    return found


def _with_seats(visit: Visit, people: Sequence[Person]) -> list[Person]:
    """Return the same people with their seats."""
    held: dict[str, list[seats.Seat]] = {}
    emails = [person.member.email for person in people]
    for seat in seats.held_by(visit.organization, visit.now, emails):
        held.setdefault(seat.holder, []).append(seat)
    return [person._replace(held=held.get(person.member.email, [])) for person in people]


def _show(request: HttpRequest, visit: Visit, member: Membership, *, fault: str = "") -> HttpResponse:
    [person] = _with_seats(visit, _people(visit, member))
    owners = visit.organization.memberships.filter(role=Role.OWNER).count()
    context = common(visit, "members") | {
        "person": person,
        "choices": choices(visit, member.role),
        "manageable": member.role in manageable_by(visit.role),
        "last_owner": member.role == Role.OWNER and owners == 1,
        "me": member.email == visit.user.email,
        "owns": visit.role == Role.OWNER,
        "fault": fault,
    }
    status = HTTPStatus.BAD_REQUEST if fault else HTTPStatus.OK
    return render(request, "console/member.html", context, status=status)


def _tell_what_they_gave_out(request: HttpRequest, visit: Visit, invited: Sequence[str], keys: Sequence[str]) -> None:
    if invited:
        messages.warning(request, f"Invitations that they gave out work no more: {', '.join(invited)}.")
    if keys:
        rows = visit.organization.api_keys.filter(prefix__in=keys).order_by("-id")
        made = ", ".join(f"“{row.name}” ({row.prefix})" for row in rows)
        messages.warning(request, f"API keys that they made go on working: {made}. Revoke those that they may know.")


def _ask_about_removal(request: HttpRequest, visit: Visit, member: Membership) -> HttpResponse:
    [person] = _with_seats(visit, _people(visit, member))
    lines: list[str] = []
    for seat in person.held:
        if seat.kind == AllocationKind.NAMED:
            lines.append(f"{seat.product} seat: free for somebody else at once.")
        elif seat.kind == AllocationKind.OFFLINE and seat.until is not None:
            stays = "{} offline licence on {}: stays, and keeps its seat, {}. Nobody can take it back."
            lines.append(format_html(stays, seat.product, short_id(seat.machine_id), through(seat.until)))
        else:
            lines.append(f"{seat.product} session on {short_id(seat.machine_id)}: ends at once.")
    lines += [f"API key “{name}” ({prefix}): goes on working." for prefix, name in _keys(visit, member)]
    return _ask(
        request,
        visit,
        member,
        title=f"Remove {member.email}?",
        lines=lines or ["They hold no licence here, and have made no API key."],
        meaning=f"{member.email} leaves {visit.organization.name}, and has to be invited again to come back. "
        "Invitations that they gave out, or that wait for them, stop working. Their account and other organisations "
        "stay as they are.",
        fields=[],
        verb="Remove",
    )


def _keys(visit: Visit, member: Membership) -> list[tuple[str, str]]:
    """Return prefix and name of the keys that the member made and that still work."""
    return [(row.prefix, row.name) for row in api_keys.made_by(visit.organization, member.email, visit.now)]


def _ask(request: HttpRequest, visit: Visit, member: Membership, **asked: object) -> HttpResponse:
    cancel = reverse("console_member", args=(visit.organization.pk, member.pk))
    return render(request, "console/confirm.html", common(visit, "members") | {"cancel": cancel} | asked)


def _find(visit: Visit, member_id: UUID) -> Membership | None:
    return visit.organization.memberships.filter(pk=member_id).first()


def _gone(request: HttpRequest, visit: Visit) -> HttpResponse:
    messages.warning(request, "That is no member of this organisation, or no more.")
    return redirect("console_members", visit.organization.pk)
