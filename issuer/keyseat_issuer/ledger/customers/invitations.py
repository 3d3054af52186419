"""Invitations: a link by mail that makes somebody a member. It works once, for 24 hours, for one address."""

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import claims
from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.ledger.customers.naming import shorten
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.models import Invitation, Membership, Organization, Role
from keyseat_issuer.ledger.tools import paging
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

LIFETIME = timedelta(hours=24)
MOST_AT_ONCE = 500
_TOKEN_BYTES = 32
_NEXT = "Ask the person who invited you for a new link."


class Invited(NamedTuple):
    """A fresh invitation. ``token`` goes into the link and is in clear here only."""

    email: str
    role: str
    token: str
    expires_at: datetime


Guard = Callable[[Collection[str]], None]
"""Raises where the caller may not give, replace or withdraw invitations with these roles."""


def allow(roles: Collection[str]) -> None:
    """Refuse nothing."""


def invite(
    organization: Organization,
    emails: Sequence[str],
    role: Role,
    *,
    with_account: Callable[[Collection[str]], set[str]],
    actor: str,
    now: datetime,
    guard: Guard = allow,
) -> list[Invited]:
    """Invite each address, or none of them. An invitation that still waits is replaced: its link stops working.

    Members who were added by hand and have no account yet are invited as what they are: the link lets them make one.

    Args:
        organization: the organisation that invites.
        emails: 1 to 500 addresses.
        role: the role of those who are not members yet.
        with_account: tells which of these addresses can sign in already.
        actor: who invites.
        now: the present.
        guard: may refuse it, seeing under the lock ``role`` and those of the invitations that would be replaced.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for what is no address, ``ALREADY_EXISTS`` for members who can sign in;
            ``details["lines"]`` tells about every address in the way.
    """
    subject = ", ".join(shorten(email) for email in emails)
    with log.act("invitation.sent", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        wanted = _check(organization, emails, with_account)
        before = organization.invitations.filter(email__in=wanted, accepted_at__isnull=True)
        guard({str(role), *before.filter(expires_at__gt=at).values_list("role", flat=True)})
        roles = dict(organization.memberships.filter(email__in=wanted).values_list("email", "role"))
        before.delete()
        expires_at = at + LIFETIME
        made = [
            Invited(email, str(roles.get(email, role)), secrets.token_urlsafe(_TOKEN_BYTES), expires_at)
            for email in wanted
        ]
        Invitation.objects.bulk_create(
            [
                Invitation(
                    id=new_id(at),
                    organization=organization,
                    email=entry.email,
                    role=entry.role,
                    token_sha256=_digest(entry.token),
                    created_at=at,
                    expires_at=expires_at,
                    invited_by=actor,
                )
                for entry in made
            ]
        )
        until = format_instant(expires_at)
        log.append_many(
            [
                log.NewEvent("invitation.sent", entry.email, {"role": entry.role, "expires_at": until}, organization.pk)
                for entry in made
            ],
            actor=actor,
            now=at,
        )
    return made


def waiting(organization: Organization, now: datetime) -> list[Invitation]:
    """Return the invitations that can still be accepted, by address."""
    source = listed(organization, now)
    return list(source.rows.order_by(*[key.order for key in source.keys]))


def listed(organization: Organization, now: datetime) -> paging.Source[Invitation]:
    """Return the same list, to be read page by page."""
    rows = organization.invitations.filter(accepted_at__isnull=True, expires_at__gt=now)
    return paging.Source(
        "invitations", rows, (paging.Key("email", paging.text), paging.Key("pk", paging.uuid)), lambda row: row
    )


def withdraw(organization: Organization, email: str, *, actor: str, now: datetime, guard: Guard = allow) -> str:
    """Take back the invitation of an address, and return the address: its link stops working at once.

    ``guard`` may refuse it, seeing the invitation's role under the lock.

    Raises:
        KeyseatError: ``INVALID_INPUT``; ``NOT_FOUND`` where none waits.
    """
    wanted = normalize_email(email)
    with log.act("invitation.withdrawn", actor=actor, organization=organization, subject=wanted, now=now) as at:
        lock_organization(organization)
        waits = organization.invitations.filter(email=wanted, accepted_at__isnull=True)
        if not waits.filter(expires_at__gt=at).exists():
            raise KeyseatError(
                ReasonCode.NOT_FOUND,
                f"no invitation of {wanted} waits",
                cause=Cause.INVITATION_UNKNOWN,
            )
        guard(set(waits.values_list("role", flat=True)))
        waits.delete()
        log.append(
            actor=actor,
            action="invitation.withdrawn",
            organization=organization,
            subject=wanted,
            details={},
            now=at,
        )
    return wanted


def look_up(token: str, now: datetime) -> Invitation:
    """Return the invitation of a link that can still be accepted.

    Raises:
        KeyseatError: ``NOT_FOUND`` (unknown, withdrawn, replaced), ``ALREADY_EXISTS`` (accepted), ``EXPIRED``.
    """
    # By hash: the database never compares the secret itself, so the time of the look-up tells nothing about it.
    found = Invitation.objects.select_related("organization__account").filter(token_sha256=_digest(token)).first()
    if found is None:
        raise KeyseatError(
            ReasonCode.NOT_FOUND, "this invitation is not known: it was replaced or withdrawn", next_step=_NEXT
        )
    _require_open(found, now)
    return found


def accept(
    invitation_id: UUID, email: str, *, now: datetime, make_account: Callable[[], object] | None = None
) -> Membership:
    """Make the account with this address a member, as its invitation says.

    ``make_account`` runs in the same transaction, once it is certain that the invitation holds: neither
    account nor membership stays without the other.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` where the invitation is for another address; ``ADDRESS_UNPROVEN`` where a link
            that the inviter was shown would make an account that is more than they may give; else as ``look_up``.
    """
    invited = Invitation.objects.select_related("organization").filter(pk=invitation_id).first()
    if invited is None:
        raise KeyseatError(ReasonCode.NOT_FOUND, "this invitation was replaced or withdrawn", next_step=_NEXT)
    organization, actor = invited.organization, f"user:{email}"
    with log.act("invitation.accepted", actor=actor, organization=organization, subject=email, now=now) as at:
        lock_organization(organization)
        row = Invitation.objects.select_for_update().filter(pk=invitation_id).first()
        if row is None:
            raise KeyseatError(ReasonCode.NOT_FOUND, "this invitation was replaced or withdrawn", next_step=_NEXT)
        _require_open(row, now)
        if row.email != email:
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"this invitation is for {row.email}",
                next_step=f"Sign in as {row.email}, or ask for an invitation of your own address.",
            )
        if make_account is not None:
            make_account()
            row.account_unproven = row.link_shown
        row.accepted_at = at
        row.save(update_fields=("accepted_at", "account_unproven"))
        # Somebody may have added the address by hand meanwhile: that role stands.
        member, added = Membership.objects.get_or_create(
            organization=organization,
            email=row.email,
            defaults={"id": new_id(at), "role": row.role, "created_at": at},
        )
        log.append(
            actor=actor,
            action="invitation.accepted",
            organization=organization,
            subject=email,
            details={"role": member.role, "was_member": not added},
            now=at,
        )
        if make_account is not None:
            # Last, under the lock of the log's head: nobody adds the address to another organisation meanwhile.
            claims.require_harmless(row, member.role, at)
        elif not row.link_shown:
            claims.prove(email, actor=actor, now=at)
    return member


def _require_open(invitation: Invitation, now: datetime) -> None:
    if invitation.accepted_at is not None:
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS, "this invitation has been accepted", next_step="Sign in with your account."
        )
    if invitation.expires_at <= now:
        raise KeyseatError(
            ReasonCode.EXPIRED,
            f"this invitation ended at {format_instant(invitation.expires_at)}",
            next_step=_NEXT,
        )


def _check(
    organization: Organization, emails: Iterable[str], with_account: Callable[[Collection[str]], set[str]]
) -> list[str]:
    typed = [email for email in emails if email.strip()]
    if not 0 < len(typed) <= MOST_AT_ONCE:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"give 1 to {MOST_AT_ONCE} e-mail addresses")
    wanted: dict[str, None] = {}
    lines: list[dict[str, str]] = []
    for email in typed:
        try:
            wanted[normalize_email(email)] = None
        except KeyseatError as error:
            lines.append({"email": shorten(email), "code": str(error.code), "note": error.message})
    settled = with_account(list(wanted))
    members = organization.memberships.filter(email__in=settled).values_list("email", "role")
    lines += [
        {
            "email": email,
            "code": str(ReasonCode.ALREADY_EXISTS),
            "note": f"is a member already, as {role}, and has an account",
        }
        for email, role in members
    ]
    if not lines:
        return list(wanted)
    invalid = any(line["code"] == ReasonCode.INVALID_INPUT for line in lines)
    raise KeyseatError(
        ReasonCode.INVALID_INPUT if invalid else ReasonCode.ALREADY_EXISTS,
        f"{len(lines)} of {len(typed)} addresses cannot be invited; nobody was",
        details={"lines": lines},
        next_step="Correct or leave out these addresses and try again.",
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
