"""Members of an organisation: roles, removal, ownership, and invitations."""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from keyseat_issuer.api.admin.access import BASE, Access, AccessDep, act, no_such, proof_of
from keyseat_issuer.api.admin.pages import Next, PageDep, PageQuery, read_page
from keyseat_issuer.api.admin.values import Body, Email
from keyseat_issuer.api.routing import ALWAYS, ServiceDep, problems
from keyseat_issuer.ledger.customers import invitations, members
from keyseat_issuer.ledger.customers.invitations import Invited
from keyseat_issuer.ledger.customers.member_guards import may_change, may_invite
from keyseat_issuer.ledger.models import Invitation, Membership, Role
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.tools import paging
from keyseat_issuer.web import invitation_limits, invitation_links, invitation_mail
from keyseat_issuer.web.accounts import with_account
from keyseat_issuer.web.mail import sends_for_real
from keyseat_issuer.web.origin import origin_of
from keyseat_shared.instants import format_instant

router = APIRouter(prefix=BASE, tags=["members"])


class MemberItem(BaseModel):
    """A member. `licensed` is false where the organisation pays and the member holds no paid seat."""

    id: str
    email: str
    role: str
    since: str
    licensed: bool


class Members(BaseModel):
    """The members, owners first. `warning` is set where some hold no paid seat while others do."""

    members: list[MemberItem]
    warning: str | None
    next: Next


class MemberAnswer(BaseModel):
    """A member as it now is."""

    id: str
    email: str
    role: str


class RoleAnswer(MemberAnswer):
    """The member in the new role, and the consequences.

    `invitations` are those that the member gave out and has lost the right to give: they end. `api_keys` are the
    prefixes of the keys of a member who has lost the right to manage: they go on working, so revoke those that only
    this person knows.
    """

    invitations: list[str]
    api_keys: list[str]


class RoleBody(Body):
    """A member's new role."""

    role: Role


class RemovalAnswer(BaseModel):
    """What a removal did. Offline licences stay until these instants: they cannot be revoked.

    `invitations` are those that the member gave out: they end. `api_keys` are the prefixes of keys that the member
    made. They go on, being the organisation's: revoke those that only this person knows.
    """

    email: str
    seats_freed: int
    offline_until: list[str]
    invitations: list[str]
    api_keys: list[str]


class OwnershipBody(Body):
    """Who becomes the owner."""

    member_id: UUID


class OwnershipAnswer(BaseModel):
    """The new owner, and the former one, who is an admin now."""

    owner: MemberAnswer
    former: MemberAnswer


class InvitationsBody(Body):
    """The people to invite, and their role."""

    emails: list[Email] = Field(min_length=1, max_length=invitations.MOST_AT_ONCE)
    role: Role = Role.MEMBER


class InvitationItem(BaseModel):
    """An invitation that waits. `mailed` is false where the mail could not be sent; it is told when it is made.

    So is `link`, where this server sends no mail at all: hand it over on a way that only the invited person reads. It
    is `null` where only the vendor may hand it over, as for somebody whom another organisation knows.
    """

    id: str
    email: str
    role: str
    expires_at: str
    mailed: bool | None = None
    link: str | None = None


class Invitations(BaseModel):
    """Invitations, by address."""

    invitations: list[InvitationItem]


class InvitationsPage(Invitations):
    """Invitations that wait, by address."""

    next: Next


class WithdrawalAnswer(BaseModel):
    """Whose invitation was taken back."""

    email: str


@router.get("/members", operation_id="members_list", summary="Members", responses=problems(403, 404, *ALWAYS))
async def list_members(
    service: ServiceDep,
    access: AccessDep,
    page: PageDep,
    licensed: Annotated[
        bool | None, Query(description="Only those who hold a paid seat, or none; see `licensed` of each.")
    ] = None,
) -> Members:
    """Return the members with their roles, and who of them holds no paid seat."""
    return await act(service, _members, access, page, licensed, service.clock())


@router.patch(
    "/members/{member_id}",
    operation_id="member_set_role",
    summary="Change a member's role",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def set_role(service: ServiceDep, access: AccessDep, member_id: UUID, body: RoleBody) -> RoleAnswer:
    """Change a role. Only an owner gives or takes the roles of owners and admins; one owner always stays."""

    def change() -> members.RoleChange:
        return members.set_role(
            access.organization,
            _email_of(access, member_id),
            body.role,
            actor=access.actor,
            now=service.clock(),
            guard=may_change(access.organization, access.email, body.role, proof=proof_of(service, access)),
        )

    changed = await act(service, change)
    return RoleAnswer(
        **_answer(changed.member).model_dump(),
        invitations=list(changed.invitations),
        api_keys=list(changed.api_keys),
    )


@router.delete(
    "/members/{member_id}",
    operation_id="member_remove",
    summary="Remove a member",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def remove(service: ServiceDep, access: AccessDep, member_id: UUID) -> RemovalAnswer:
    """Remove a member: assigned seats are free, online sessions end, offline licences stay until they expire."""

    def take_out() -> members.Removal:
        return members.remove_member(
            access.organization,
            _email_of(access, member_id),
            actor=access.actor,
            now=service.clock(),
            guard=may_change(access.organization, access.email, proof=proof_of(service, access)),
        )

    removed = await act(service, take_out)
    return RemovalAnswer(
        email=removed.email,
        seats_freed=removed.seats_freed,
        offline_until=[format_instant(until) for until in removed.offline_until],
        invitations=list(removed.invitations),
        api_keys=list(removed.api_keys),
    )


@router.post(
    "/ownership",
    operation_id="ownership_transfer",
    summary="Hand over ownership",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def transfer_ownership(service: ServiceDep, access: AccessDep, body: OwnershipBody) -> OwnershipAnswer:
    """Make another member the owner; the caller becomes an admin, in the same act."""

    def hand_over() -> tuple[Membership, Membership]:
        return members.transfer_ownership(
            access.organization,
            access.caller.email,
            _email_of(access, body.member_id),
            actor=access.actor,
            now=service.clock(),
        )

    former, owner = await act(service, hand_over)
    return OwnershipAnswer(owner=_answer(owner), former=_answer(former))


@router.get(
    "/invitations", operation_id="invitations_list", summary="Invitations", responses=problems(403, 404, *ALWAYS)
)
async def list_invitations(service: ServiceDep, access: AccessDep, page: PageDep) -> InvitationsPage:
    """Return the invitations that wait to be accepted."""
    waiting = invitations.listed(access.organization, service.clock())
    found = await read_page(service, page, waiting)
    return InvitationsPage(invitations=[_invitation(row) for row in found.rows], next=found.next)


@router.post(
    "/invitations",
    operation_id="invitations_create",
    summary="Invite people",
    status_code=201,
    responses=problems(403, 404, 409, *ALWAYS),
)
async def invite(service: ServiceDep, access: AccessDep, body: InvitationsBody) -> Invitations:
    """Invite people by mail, all of them or none: a link works once, for 24 hours, for that address.

    The link goes to the invited person only: who invites does not see it, and cannot accept in another's name. Where
    the server sends no mail, who invites hands it over: `link`.
    """

    def make() -> list[Invited]:
        return invitations.invite(
            access.organization,
            body.emails,
            body.role,
            with_account=with_account,
            actor=access.actor,
            now=service.clock(),
            guard=may_invite(access.organization, access.email, proof=proof_of(service, access)),
        )

    await act(service, invitation_limits.require, access.organization, body.emails, service.clock())
    made = await act(service, make)
    # Not on the ledger's threads: a slow mail server must not hold up anything else.
    failed = await asyncio.to_thread(_mail, access, made)
    links = await act(service, _links, access, made, service.clock())
    waiting = await act(service, invitations.waiting, access.organization, service.clock())
    fresh = {entry.email for entry in made}
    return Invitations(
        invitations=[
            _invitation(row, mailed=row.email not in failed, link=links.get(row.email))
            for row in waiting
            if row.email in fresh
        ]
    )


@router.delete(
    "/invitations/{invitation_id}",
    operation_id="invitation_withdraw",
    summary="Take an invitation back",
    responses=problems(403, 404, *ALWAYS),
)
async def withdraw(service: ServiceDep, access: AccessDep, invitation_id: UUID) -> WithdrawalAnswer:
    """Take an invitation back: its link stops working at once."""

    def take_back() -> str:
        row = Invitation.objects.filter(organization=access.organization, pk=invitation_id).first()
        if row is None:
            raise no_such("invitation")
        return invitations.withdraw(
            access.organization,
            row.email,
            actor=access.actor,
            now=service.clock(),
            guard=may_invite(access.organization, access.email, proof=proof_of(service, access)),
        )

    return WithdrawalAnswer(email=await act(service, take_back))


def _members(access: Access, page: PageQuery, licensed: bool | None, now: datetime) -> Members:  # noqa: FBT001 - a query
    without = seats.unlicensed(access.organization, now)
    source = members.listed(access.organization)
    if licensed is not None:
        rows = source.rows
        ids = without.values("pk")
        source = source._replace(rows=rows.exclude(pk__in=ids) if licensed else rows.filter(pk__in=ids))
    found = paging.read([source], *page)
    unlicensed = set(without.filter(pk__in=[row.pk for row in found.rows]).values_list("pk", flat=True))
    lacking, everybody = without.count(), access.organization.memberships.count()
    mixed = 0 < lacking < everybody
    return Members(
        members=[
            MemberItem(
                id=str(row.pk),
                email=row.email,
                role=row.role,
                since=format_instant(row.created_at),
                licensed=row.pk not in unlicensed,
            )
            for row in found.rows
        ],
        warning=f"{lacking} of {everybody} members hold no paid seat: assign one to each." if mixed else None,
        next=found.next,
    )


def _email_of(access: Access, member_id: UUID) -> str:
    row = Membership.objects.filter(organization=access.organization, pk=member_id).first()
    if row is None:
        raise no_such("member")
    return row.email


def _answer(row: Membership) -> MemberAnswer:
    return MemberAnswer(id=str(row.pk), email=row.email, role=str(row.role))


def _invitation(row: Invitation, *, mailed: bool | None = None, link: str | None = None) -> InvitationItem:
    until = format_instant(row.expires_at)
    return InvitationItem(id=str(row.pk), email=row.email, role=row.role, expires_at=until, mailed=mailed, link=link)


def _mail(access: Access, made: list[Invited]) -> set[str]:
    """Mail the links; return the addresses that got none."""
    return set(invitation_mail.send(access.organization, made)) if sends_for_real() else {entry.email for entry in made}


def _links(access: Access, made: list[Invited], now: datetime) -> dict[str, str]:
    """Return the links that who invites has to hand over: none where mails are sent."""
    if sends_for_real():
        return {}
    shown = invitation_links.show(
        access.organization, made, origin=origin_of(), role=access.role, actor=access.actor, now=now
    )
    return shown.links
