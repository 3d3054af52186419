"""Replaying the audit log for the audit check: who is in which organisation, as what, and with which API keys.

Members, roles, invitations and API keys have no signature of their own. What the rows of the log say about them is
followed from the first row to the last, and then held against the tables: a role that was changed by SQL is in no row.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.checks.rows import Acts, Finding, followed
from keyseat_issuer.ledger.audit.log import Row
from keyseat_issuer.ledger.customers.api_keys import FINGERPRINT, fingerprint
from keyseat_issuer.ledger.models import ApiKey, Invitation, Membership, Organization, Role
from keyseat_issuer.ledger.models.organizations import fold_name
from keyseat_shared.instants import format_instant

_CHUNK = 2000
Who = tuple[UUID | None, str]


class _Key(NamedTuple):
    organization_id: UUID | None
    name: object
    scopes: object
    expires_at: object
    fingerprint: object
    revoked: bool = False


class People:
    """What the rows read so far say: organisations, members and roles, invitations, API keys."""

    def __init__(self) -> None:
        self.organizations: dict[UUID | None, tuple[str, object]] = {}
        self.members: dict[Who, object] = {}
        self.invited: dict[Who, object] = {}
        self.keys: dict[str, _Key] = {}
        self._acts: Acts = {
            "organization.added": self._organization,
            "member.added": self._added,
            "member.role_changed": self.changed_role,
            "member.removed": self.removed,
            "ownership.transferred": self._transferred,
            "invitation.sent": self._sent,
            "invitation.accepted": self.accepted,
            "api-key.created": self._key_made,
            "api-key.revoked": self.key_revoked,
        }

    def note(self, row: Row) -> Iterator[Finding]:
        """Follow one row; yield what is wrong with it."""
        yield from followed(row, self._acts)

    def _organization(self, row: Row, details: dict[str, object]) -> None:
        self.organizations[row.organization_id] = (row.subject, details["account"])

    def _added(self, row: Row, details: dict[str, object]) -> None:
        self.members[row.organization_id, row.subject] = details["role"]

    def changed_role(self, row: Row, details: dict[str, object]) -> str | None:
        """Follow a change of a role; return what is wrong with it."""
        who = (row.organization_id, row.subject)
        before, self.members[who] = self.members.get(who), details["to"]
        if details["from"] != before:
            return f"it changes a role from {details['from']}, but the rows before it say {before}"
        return None

    def removed(self, row: Row, _details: dict[str, object]) -> None:
        """Follow a removal."""
        self.members.pop((row.organization_id, row.subject), None)

    def _transferred(self, row: Row, details: dict[str, object]) -> None:
        self.members[row.organization_id, str(details["from"])] = Role.ADMIN.value
        self.members[row.organization_id, row.subject] = Role.OWNER.value

    def _sent(self, row: Row, details: dict[str, object]) -> None:
        self.invited[row.organization_id, row.subject] = details["role"]

    def accepted(self, row: Row, details: dict[str, object]) -> str | None:
        """Follow an invitation to its end; return what is wrong with it."""
        who = (row.organization_id, row.subject)
        if details["was_member"]:
            return None
        self.members[who] = details["role"]
        if self.invited.get(who) != details["role"]:
            return f"somebody joined as {details['role']}, but was invited as {self.invited.get(who)}"
        return None

    def _key_made(self, row: Row, details: dict[str, object]) -> None:
        self.keys[row.subject] = _Key(
            row.organization_id, details["name"], details["scopes"], details["expires_at"], details.get(FINGERPRINT)
        )

    def key_revoked(self, row: Row, _details: dict[str, object]) -> None:
        """Follow the end of a key."""
        self.keys[row.subject] = self.keys[row.subject]._replace(revoked=True)

    def compare(self) -> Iterator[Finding]:
        """Hold what the rows say against the tables; yield what differs."""
        yield from self._compare_organizations()
        yield from self._compare_members()
        yield from self._compare_invitations()
        yield from self._compare_keys()

    def rows_of_organizations(self) -> Iterable[Organization]:
        """Return the organisations that are compared."""
        return Organization.objects.select_related("account").order_by("pk").iterator(_CHUNK)

    def rows_of_members(self) -> Iterable[tuple[UUID, str, str]]:
        """Return organisation, address and role of the members that are compared."""
        rows = Membership.objects.order_by("organization", "email")
        return rows.values_list("organization_id", "email", "role").iterator(_CHUNK)

    def rows_of_invitations(self) -> Iterable[tuple[UUID, str, str]]:
        """Return organisation, address and role of the invitations that are compared: those not accepted yet."""
        rows = Invitation.objects.filter(accepted_at__isnull=True).order_by("pk")
        return rows.values_list("organization_id", "email", "role").iterator(_CHUNK)

    def rows_of_keys(self) -> Iterable[ApiKey]:
        """Return the API keys that are compared."""
        return ApiKey.objects.order_by("pk").iterator(_CHUNK)

    def _compare_organizations(self) -> Iterator[Finding]:
        told = dict(self.organizations)
        for row in self.rows_of_organizations():
            expected = told.pop(row.pk, None)
            if expected is None:
                yield Finding(f"organisation {row.pk}", "no audit row added it: inserted")
            elif expected != (row.name, row.account.name):
                yield Finding(
                    f"organisation {row.pk}", "its name or account is not that of the row that added it: changed"
                )
            elif any(one.folded != fold_name(one.name) for one in (row, row.account)):
                yield Finding(f"organisation {row.pk}", "it is looked up by another name than its own: changed")
        for missing in told:
            yield Finding(f"organisation {missing}", "an audit row added it, but the ledger does not hold it: removed")

    def _compare_members(self) -> Iterator[Finding]:
        told = dict(self.members)
        for organization_id, email, role in self.rows_of_members():
            place, expected = (
                f"member {email} of organisation {organization_id}",
                told.pop((organization_id, email), None),
            )
            if expected is None:
                yield Finding(place, "no audit row made them a member: inserted")
            elif expected != role:
                yield Finding(place, f"is {role}, but the audit log says {expected}: changed")
        for who, left in told.items():
            if left is not None:
                yield Finding(f"member {who[1]} of organisation {who[0]}", "the audit log has no removal: removed")

    def _compare_invitations(self) -> Iterator[Finding]:
        for organization_id, email, role in self.rows_of_invitations():
            expected = self.invited.get((organization_id, email))
            if expected != role:
                said = "knows of none" if expected is None else f"says {expected}"
                yield Finding(
                    f"invitation of {email} to organisation {organization_id}",
                    f"it is for {role}, but the audit log {said}: changed or inserted",
                )

    def _compare_keys(self) -> Iterator[Finding]:
        told = dict(self.keys)
        for row in self.rows_of_keys():
            place, expected = f"API key {row.prefix}", told.pop(row.prefix, None)
            if expected is None:
                yield Finding(place, "no audit row made it: inserted")
            elif _as_told(row, expected) != expected:
                yield Finding(place, "it is not what the audit log tells of: changed")
        for prefix in told:
            yield Finding(f"API key {prefix}", "an audit row made it, but the ledger does not hold it: removed")


def _as_told(row: ApiKey, told: _Key) -> _Key:
    """Return the key as a row of the log would tell of it."""
    return _Key(
        row.organization_id,
        row.name,
        row.scopes.split(),
        None if row.expires_at is None else format_instant(row.expires_at),
        # Rows of former versions have none.
        None if told.fingerprint is None else fingerprint(row.key_sha256),
        row.revoked_at is not None,
    )
