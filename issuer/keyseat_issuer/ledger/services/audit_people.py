"""Replaying the audit log for the audit check: who is in which organisation, as what, and with which API keys.

Members, roles, invitations and API keys have no signature of their own. What the rows of the log say about them is
followed from the first row to the last, and then held against the tables: a role that was changed by SQL is in no row.
"""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.ledger.models import ApiKey, Invitation, Membership, Organization, Role
from keyseat_issuer.ledger.services.api_keys import FINGERPRINT, fingerprint
from keyseat_issuer.ledger.services.audit import Row
from keyseat_issuer.ledger.services.audit_rows import WRONG_KIND, Finding
from keyseat_shared.instants import format_instant

_CHUNK = 2000
_Who = tuple[UUID | None, str]


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
        self._organizations: dict[UUID | None, tuple[str, object]] = {}
        self._members: dict[_Who, object] = {}
        self._invited: dict[_Who, object] = {}
        self._keys: dict[str, _Key] = {}
        self._acts: dict[str, Callable[[Row, dict[str, object]], str | None]] = {
            "organization.added": self._organization,
            "member.added": self._added,
            "member.role_changed": self._role,
            "member.removed": self._removed,
            "ownership.transferred": self._transferred,
            "invitation.sent": self._sent,
            "invitation.accepted": self._accepted,
            "api-key.created": self._key_made,
            "api-key.revoked": self._key_revoked,
        }

    def note(self, row: Row) -> Iterator[Finding]:
        """Follow one row; yield what is wrong with it."""
        act = self._acts.get(row.action)
        if act is None:
            return
        try:
            what = act(row, json.loads(row.details))
        except (*WRONG_KIND, RecursionError):
            what = "it does not say what its act needs: changed"
        if what is not None:
            yield Finding(f"audit row {row.seq}", what)

    def _organization(self, row: Row, details: dict[str, object]) -> None:
        self._organizations[row.organization_id] = (row.subject, details["account"])

    def _added(self, row: Row, details: dict[str, object]) -> None:
        self._members[row.organization_id, row.subject] = details["role"]

    def _role(self, row: Row, details: dict[str, object]) -> str | None:
        who = (row.organization_id, row.subject)
        before, self._members[who] = self._members.get(who), details["to"]
        if details["from"] != before:
            return f"it changes a role from {details['from']}, but the rows before it say {before}"
        return None

    def _removed(self, row: Row, _details: dict[str, object]) -> None:
        self._members.pop((row.organization_id, row.subject), None)

    def _transferred(self, row: Row, details: dict[str, object]) -> None:
        self._members[row.organization_id, str(details["from"])] = Role.ADMIN.value
        self._members[row.organization_id, row.subject] = Role.OWNER.value

    def _sent(self, row: Row, details: dict[str, object]) -> None:
        self._invited[row.organization_id, row.subject] = details["role"]

    def _accepted(self, row: Row, details: dict[str, object]) -> str | None:
        who = (row.organization_id, row.subject)
        if details["was_member"]:
            return None
        self._members[who] = details["role"]
        if self._invited.get(who) != details["role"]:
            return f"somebody joined as {details['role']}, but was invited as {self._invited.get(who)}"
        return None

    def _key_made(self, row: Row, details: dict[str, object]) -> None:
        self._keys[row.subject] = _Key(
            row.organization_id, details["name"], details["scopes"], details["expires_at"], details.get(FINGERPRINT)
        )

    def _key_revoked(self, row: Row, _details: dict[str, object]) -> None:
        self._keys[row.subject] = self._keys[row.subject]._replace(revoked=True)

    def compare(self) -> Iterator[Finding]:
        """Hold what the rows say against the tables; yield what differs."""
        yield from self._compare_organizations()
        yield from self._compare_members()
        yield from self._compare_invitations()
        yield from self._compare_keys()

    def _compare_organizations(self) -> Iterator[Finding]:
        told = dict(self._organizations)
        for row in Organization.objects.select_related("account").order_by("pk").iterator(_CHUNK):
            expected = told.pop(row.pk, None)
            if expected is None:
                yield Finding(f"organisation {row.pk}", "no audit row added it: inserted")
            elif expected != (row.name, row.account.name):
                yield Finding(
                    f"organisation {row.pk}", "its name or account is not that of the row that added it: changed"
                )
        for missing in told:
            yield Finding(f"organisation {missing}", "an audit row added it, but the ledger does not hold it: removed")

    def _compare_members(self) -> Iterator[Finding]:
        told = dict(self._members)
        rows = Membership.objects.order_by("organization", "email").values_list("organization_id", "email", "role")
        for organization_id, email, role in rows.iterator(_CHUNK):
            place, expected = (
                f"member {email} of organisation {organization_id}",
                told.pop((organization_id, email), None),
            )
            if expected is None:
                yield Finding(place, "no audit row made them a member: inserted")
            elif expected != role:
                yield Finding(place, f"is {role}, but the audit log says {expected}: changed")
        for who in told:
            yield Finding(f"member {who[1]} of organisation {who[0]}", "the audit log has no removal: removed")

    def _compare_invitations(self) -> Iterator[Finding]:
        rows = Invitation.objects.filter(accepted_at__isnull=True).order_by("pk")
        for organization_id, email, role in rows.values_list("organization_id", "email", "role").iterator(_CHUNK):
            expected = self._invited.get((organization_id, email))
            if expected != role:
                said = "knows of none" if expected is None else f"says {expected}"
                yield Finding(
                    f"invitation of {email} to organisation {organization_id}",
                    f"it is for {role}, but the audit log {said}: changed or inserted",
                )

    def _compare_keys(self) -> Iterator[Finding]:
        told = dict(self._keys)
        for row in ApiKey.objects.order_by("pk").iterator(_CHUNK):
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
