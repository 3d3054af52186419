"""Members of an organisation and their roles. An organisation that has an owner always keeps one."""

import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import Case, IntegerField, Value, When

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import api_keys, claims, inviters
from keyseat_issuer.ledger.customers.naming import shorten, unknown
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.customers.rights import MANAGERS, gives_more, may_invite_as
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    Ending,
    Membership,
    OfflineLicense,
    Organization,
    Role,
    SessionEnding,
)
from keyseat_issuer.ledger.models.organizations import MAX_EMAIL
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.pools.endings import end_for, pools_of
from keyseat_issuer.ledger.tools import paging
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

_MOST_TYPED = 1000
"""Characters of what is typed that can matter: more are no address, however short its domain is in ASCII."""


class Removal(NamedTuple):
    """What a removal did: assigned seats that became free, and offline licences that stay until they expire.

    ``api_keys`` are the prefixes of the keys that the member made and that go on: they are the organisation's.
    ``invitations`` are the addresses that the member had invited, and who cannot accept any more.
    """

    email: str
    seats_freed: int
    offline_until: tuple[datetime, ...]
    api_keys: tuple[str, ...] = ()
    invitations: tuple[str, ...] = ()


class RoleChange(NamedTuple):
    """A member in a new role, and the consequences of fewer rights.

    ``invitations`` are the addresses that the member had invited to roles that they may no longer give: they end.
    ``api_keys`` are the prefixes of the member's keys, where they no longer manage: these belong to the organisation,
    and go on working.
    """

    member: Membership
    invitations: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = ()


Guard = Callable[[Membership], None]
"""Raises where the caller may not change the member."""


def allow(member: Membership) -> None:
    """Refuse nothing."""


def normalize_email(text: str) -> str:
    """Return an e-mail address as the ledger keeps it: trimmed, in lower case, the domain in ASCII (RFC 3490).

    A domain that means another one to newer software is refused: "straße.de" is "strasse.de" to RFC 3490 and a domain
    of its own to RFC 5891, and an invitation must not reach somebody else. So is a letter before the @ that is not of
    ASCII: what its lower case is depends on the database, and upper case makes one letter of a long and a plain s.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    # The length first: making a domain ASCII takes long for what is far too long to be one.
    local, at, domain = text.strip()[:_MOST_TYPED].lower().rpartition("@")
    try:
        ascii_domain = domain.encode("idna")
        # What does not come back was replaced on the way (sharp s, joiners, wide letters), not only written in ASCII.
        unambiguous = domain.isascii() or ascii_domain.decode("idna") == unicodedata.normalize("NFC", domain)
        email = local + at + ascii_domain.decode("ascii") if unambiguous and local.isascii() else ""
        validate_email(email)
    except (ValidationError, UnicodeError):
        email = ""
    if not 0 < len(email) <= MAX_EMAIL:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{shorten(text)!r} is not an e-mail address",
            next_step="Write it as name@example.com.",
        )
    return email


def not_a_member(organization: Organization | None, email: str) -> KeyseatError:
    """Return the refusal of somebody who is no member, with similar members; ``None``: of any."""
    known = Membership.objects.all() if organization is None else organization.memberships
    return unknown(
        "member",
        email,
        known.values_list("email", flat=True).distinct(),
        code=ReasonCode.NOT_A_MEMBER,
        within="" if organization is None else organization.name,
        cause=Cause.MEMBER_UNKNOWN,
    )


def add_members(
    organization: Organization, emails: Sequence[str], role: Role, *, actor: str, now: datetime, vouched: bool = False
) -> list[Membership]:
    """Add people in one role; all of them or none. ``vouched``: whoever adds them knows whose their accounts are.

    Raises:
        KeyseatError: ``INVALID_INPUT``, ``ALREADY_EXISTS``, ``ADDRESS_UNPROVEN``.
    """
    wanted = list(dict.fromkeys(normalize_email(email) for email in emails))
    subject = ", ".join(wanted)
    with log.act("member.added", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        present = organization.memberships.filter(email__in=wanted).order_by("email").first()
        if present is not None:
            raise KeyseatError(
                ReasonCode.ALREADY_EXISTS,
                f"{present.email} is a member of {organization.name!r} already, as {present.role}",
                details={"email": present.email, "role": present.role},
                cause=Cause.MEMBER_ALREADY,
            )
        added = Membership.objects.bulk_create(
            [
                Membership(id=new_id(at), organization=organization, email=email, role=role, created_at=at)
                for email in wanted
            ]
        )
        log.append_many(
            [log.NewEvent("member.added", email, {"role": str(role)}, organization.pk) for email in wanted],
            actor=actor,
            now=at,
        )
        if not vouched:
            # Last, under the lock of the log's head: nobody makes such an account by a link meanwhile.
            claims.require_proven(wanted, role, organization)
    return added


def list_members(organization: Organization) -> list[Membership]:
    """Return the members, owners first, then by address."""
    source = listed(organization)
    return list(source.rows.order_by(*[key.order for key in source.keys]))


def listed(organization: Organization) -> paging.Source[Membership]:
    """Return the same list, to be read page by page."""
    order = {role: place for place, role in enumerate(Role.values)}
    place = Case(*[When(role=role, then=Value(rank)) for role, rank in order.items()], output_field=IntegerField())
    rows = organization.memberships.annotate(place=place)
    return paging.Source(
        "members", rows, (paging.Key("place", paging.number), paging.Key("email", paging.text)), lambda row: row
    )


def find_member(organization: Organization, email: str) -> Membership:
    """Return a member by address.

    Raises:
        KeyseatError: ``INVALID_INPUT``; ``NOT_A_MEMBER`` with ``did_you_mean``.
    """
    wanted = normalize_email(email)
    found = organization.memberships.filter(email=wanted).first()
    if found is None:
        raise not_a_member(organization, wanted)
    return found


def set_role(
    organization: Organization,
    email: str,
    role: Role,
    *,
    actor: str,
    now: datetime,
    guard: Guard = allow,
    vouched: bool = False,
) -> RoleChange:
    """Change a member's role; ``guard`` may refuse it, seeing the member as it stands under the lock.

    Invitations that the member gave out and may give no more end. ``vouched`` as for ``add_members``.

    Raises:
        KeyseatError: ``NOT_A_MEMBER``, ``NOT_ALLOWED`` for the last owner, ``ADDRESS_UNPROVEN`` for a role that gives
            more.
    """
    wanted = normalize_email(email)
    with log.act("member.role_changed", actor=actor, organization=organization, subject=wanted, now=now) as at:
        lock_organization(organization)
        member = find_member(organization, wanted)
        guard(member)
        before = member.role
        if before == Role.OWNER and role != Role.OWNER:
            _keep_an_owner(organization)
        if not vouched and gives_more(role, than=Role(before)):
            claims.require_proven([wanted], role, organization)
        member.role = role
        member.save(update_fields=("role",))
        log.append(
            actor=actor,
            action="member.role_changed",
            organization=organization,
            subject=wanted,
            details={"from": before, "to": str(role)},
            now=at,
        )
        ended = _end_invitations(organization, wanted, role, because="role lost", actor=actor, now=at)
        lost = before in MANAGERS and role not in MANAGERS
        keys = tuple([row.prefix for row in api_keys.made_by(organization, wanted, at)]) if lost else ()
    return RoleChange(member, ended, keys)


def transfer_ownership(
    organization: Organization, from_email: str, to_email: str, *, actor: str, now: datetime
) -> tuple[Membership, Membership]:
    """Make a member an owner and the giver an admin, in one act: there are never two owners by it, or none.

    Raises:
        KeyseatError: ``NOT_A_MEMBER``; ``NOT_ALLOWED`` where the giver is no owner; ``ALREADY_EXISTS`` where the
            receiver is one; ``ADDRESS_UNPROVEN``.
    """
    giver, receiver = normalize_email(from_email), normalize_email(to_email)
    with log.act("ownership.transferred", actor=actor, organization=organization, subject=receiver, now=now) as at:
        lock_organization(organization)
        before, after = find_member(organization, giver), find_member(organization, receiver)
        if before.role != Role.OWNER:
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"{giver} is not an owner of {organization.name!r}",
                next_step="Ask an owner of the organisation.",
            )
        if after.role == Role.OWNER:
            raise KeyseatError(ReasonCode.ALREADY_EXISTS, f"{receiver} is an owner of {organization.name!r} already")
        claims.require_proven([receiver], Role.OWNER, organization)
        held = after.role
        before.role, after.role = Role.ADMIN, Role.OWNER
        Membership.objects.bulk_update([before, after], ("role",))
        log.append(
            actor=actor,
            action="ownership.transferred",
            organization=organization,
            subject=receiver,
            details={"from": giver, "was": held},
            now=at,
        )
        _end_invitations(organization, giver, Role.ADMIN, because="role lost", actor=actor, now=at)
    return before, after


def remove_member(
    organization: Organization, email: str, *, actor: str, now: datetime, guard: Guard = allow
) -> Removal:
    """Remove a member: assigned seats become free, offline licences stay as they are until they expire.

    API keys that the member made go on: programs of the organisation use them. Who wants them gone revokes them.

    An invitation that waits for this address stops working, and so do those that the member gave out.

    Raises:
        KeyseatError: ``NOT_A_MEMBER``, ``NOT_ALLOWED`` for the last owner.
    """
    wanted = normalize_email(email)
    with log.act("member.removed", actor=actor, organization=organization, subject=wanted, now=now) as at:
        lock_organization(organization)
        member = find_member(organization, wanted)
        guard(member)
        if member.role == Role.OWNER:
            _keep_an_owner(organization)
        freed = _free_seats(organization, wanted, at)
        # A link that was meant for this member's first sign-in would bring the member back, in the former role.
        organization.invitations.filter(email=wanted, accepted_at__isnull=True).delete()
        kept = tuple(
            OfflineLicense.objects.filter(organization=organization, user=wanted, expires_at__gt=at)
            .order_by("expires_at")
            .values_list("expires_at", flat=True)
        )
        keys = tuple([row.prefix for row in api_keys.made_by(organization, wanted, at)])
        member.delete()
        log.append(
            actor=actor,
            action="member.removed",
            organization=organization,
            subject=wanted,
            details={
                "role": member.role,
                "seats_freed": freed,
                "offline_until": [format_instant(until) for until in kept],
                "api_keys": list(keys),
            },
            now=at,
        )
        ended = _end_invitations(organization, wanted, None, because="member removed", actor=actor, now=at)
    return Removal(wanted, freed, kept, keys, ended)


def _end_invitations(
    organization: Organization, email: str, role: Role | None, *, because: str, actor: str, now: datetime
) -> tuple[str, ...]:
    return inviters.end_of(
        organization,
        inviters.of_user(email),
        because=because,
        actor=actor,
        now=now,
        may_give=may_invite_as(role),
    )


def _free_seats(organization: Organization, email: str, now: datetime) -> int:
    held = Allocation.objects.filter(
        pool__subscription__organization=organization,
        holder=email,
        kind=AllocationKind.NAMED,
        released_at__isnull=True,
    )
    locked = pools.lock_pools({*held.values_list("pool_id", flat=True), *pools_of(organization, now)})
    by_id = {pool.pk: pool for pool in locked}
    freed = 0
    # Read again: under the locks nobody moves these seats any more.
    for allocation in held.filter(pool_id__in=by_id):
        pools.give_back(by_id[allocation.pool_id], allocation, now, Ending.MEMBER_REMOVED)
        freed += 1
    end_for(organization, SessionEnding.MEMBER_REMOVED, locked, now, emails=[email])
    return freed


def _keep_an_owner(organization: Organization) -> None:
    if organization.memberships.filter(role=Role.OWNER).count() == 1:
        raise KeyseatError(
            ReasonCode.NOT_ALLOWED,
            f"this is the last owner of {organization.name!r}",
            cause=Cause.LAST_OWNER,
        )
