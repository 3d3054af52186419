"""Accounts and organisations: add, list, and find the one that somebody typed."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.naming import clean_name, shorten, unknown
from keyseat_issuer.ledger.models import Account, Organization
from keyseat_issuer.ledger.models.organizations import fold_name
from keyseat_issuer.ledger.tools import paging
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


def add_organization(name: str, *, account: str | None = None, actor: str, now: datetime) -> Organization:
    """Add an organisation to an account (default: one of the same name), which is made where it does not exist.

    Raises:
        KeyseatError: ``INVALID_INPUT``, ``ALREADY_EXISTS``.
    """
    name = clean_name(name, "an organisation")
    account_name = clean_name(account or name, "an account")
    with log.act("organization.added", actor=actor, organization=None, subject=name, now=now) as at:
        owner = Account.objects.filter(folded=fold_name(account_name)).first()
        if owner is None:
            owner = Account.objects.create(id=new_id(at), name=account_name, created_at=at)
        existing = owner.organizations.filter(folded=fold_name(name)).first()
        if existing is not None:
            raise KeyseatError(
                ReasonCode.ALREADY_EXISTS,
                f"the account {owner.name!r} has an organisation {existing.name!r} already",
                details={"organization_id": str(existing.pk)},
            )
        added = Organization.objects.create(id=new_id(at), account=owner, name=name, created_at=at)
        log.append(
            actor=actor,
            action="organization.added",
            organization=added,
            subject=name,
            details={"account": owner.name, "account_id": str(owner.pk)},
            now=at,
        )
    return added


def listed(part: str = "") -> paging.Source[Organization]:
    """Return all organisations with their accounts, by account and name, to be read page by page.

    ``part``: only those whose name, or whose account's, holds this text, in capitals or not.
    """
    rows = Organization.objects.select_related("account")
    if part:
        wanted = fold_name(" ".join(part.split()))
        rows = rows.filter(Q(folded__contains=wanted) | Q(account__folded__contains=wanted))
    keys = (paging.Key("account__folded", paging.text), paging.Key("folded", paging.text))
    return paging.Source("organizations", rows, keys, lambda row: row)


def find(typed: str) -> Organization:
    """Return the organisation with this name (however capitalised), ``ACCOUNT/NAME``, or id.

    Raises:
        KeyseatError: ``NOT_FOUND`` with ``did_you_mean``; ``INVALID_INPUT`` where two accounts have one of that name.
    """
    everything = Organization.objects.select_related("account")
    name = " ".join(typed.split())
    found = list(everything.filter(folded=fold_name(name))[:2])
    if not found and "/" in name:
        account, _, rest = name.partition("/")
        wanted = everything.filter(account__folded=fold_name(account.strip()), folded=fold_name(rest.strip()))
        found = list(wanted[:2])
    if not found:
        try:
            found = list(everything.filter(pk=UUID(name)))
        except ValueError:
            found = []
    if len(found) > 1:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"several accounts have an organisation {shorten(typed)!r}",
            cause=Cause.ORGANIZATION_AMBIGUOUS,
        )
    if not found:
        names = everything.values_list("name", flat=True)
        raise unknown("organisation", typed, names.iterator(), cause=Cause.ORGANIZATION_UNKNOWN)
    return found[0]


def lock_organization(organization: Organization) -> None:
    """Put acts on the members of one organisation into an order. Call first in a transaction, before pools."""
    # no_key: licences and audit rows that refer to it may be added meanwhile (PostgreSQL's foreign key checks).
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
