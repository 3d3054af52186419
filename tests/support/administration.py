"""An organisation administered over real HTTP: people in each role, their tokens, and calls to its routes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

import shop
from activation import Clock, Person, Site, serve_here
from keyseat_issuer.api.roles import ANY_SCOPE, MATRIX, Reach
from keyseat_issuer.ledger.customers import api_keys, members
from keyseat_issuer.ledger.models import Membership, Organization, Role
from keyseat_issuer.ledger.offline.values import Terms
from offline_shop import VendorSigner
from vendor import Vendor

OWNER, ADMIN, BILLING = "owner@example.com", "admin@example.com", "billing@example.com"
ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.org"
SCOPES = frozenset({"sessions", "admin"})
PEOPLE = {name.partition("@")[0]: Person(name, SCOPES, shop.NOW) for name in (OWNER, ADMIN, BILLING, ADA, BOB, EVE)} | {
    "owner-sessions": Person(OWNER, frozenset({"sessions"}), shop.NOW),
    "owner-admin": Person(OWNER, frozenset({"admin"}), shop.NOW),
    "owner-unproved": Person(OWNER, SCOPES),
}
"""People by their tokens, who gave their password at ``shop.NOW``. Eve is a member of no organisation here."""


ROLES = {OWNER: Role.OWNER, ADMIN: Role.ADMIN, BILLING: Role.BILLING, ADA: Role.MEMBER, BOB: Role.MEMBER}


class VendorLicensing:
    """The licence keys of a test's vendor."""

    def __init__(self, vendor: Vendor) -> None:
        """Take the vendor."""
        self.vendor = vendor

    def terms(self, actor: str, now: datetime) -> Terms:
        """Return terms with a signer."""
        return Terms(self.vendor.bundle, actor, now, VendorSigner(self.vendor))


@dataclass
class Office:
    """An organisation and the service that it is administered through."""

    site: Site
    organization: Organization

    @property
    def clock(self) -> Clock:
        """The service's clock."""
        return self.site.clock

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        who: str = "owner",
        of: Organization | None = None,
    ) -> httpx.Response:
        """Call a route below the organisation's path; ``who`` is a token."""
        base = f"/api/v1/organizations/{(of or self.organization).pk}"
        headers = {} if body is None else {"Content_Type": "application/json"}
        return self.site.call(method, base + path, body, key=who, **headers)

    def get(self, path: str, **options: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return the JSON that a route answers with."""
        answer = self.call("GET", path, **options)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def member(self, email: str) -> str:
        """Return a member's id."""
        return str(Membership.objects.get(organization=self.organization, email=email).pk)


def found(name: str = "Example Organisation", *, kse: int = 3, kre: int = 2) -> Organization:
    """Add an organisation with somebody in each role and an annual subscription."""
    made = shop.organization(name, ADA, BOB)
    members.add_members(made, [ADMIN], Role.ADMIN, actor="test", now=shop.NOW)
    members.add_members(made, [BILLING], Role.BILLING, actor="test", now=shop.NOW)
    shop.subscribe(made, {"KSE": kse, "KRE": kre})
    return made


@contextlib.contextmanager
def administered(
    organization: Organization, *, vendor: Vendor | None = None, signs: bool = True, clock: Clock | None = None
) -> Iterator[Office]:
    """Serve an organisation's administration."""
    seller = vendor or Vendor()
    licensing = VendorLicensing(seller) if signs else None
    with serve_here(vendor=seller, people=PEOPLE, licensing=licensing, clock=clock) as site:
        yield Office(site, organization)


def key_with(organization: Organization, *scopes: str) -> str:
    """Make an API key with these scopes."""
    made = api_keys.create_key(organization, scopes, name="ci", expires_at=None, actor="test", now=shop.NOW)
    return made.text


def expected(name: str, who: str, *, own: bool) -> bool:
    """Return whether the table lets a caller in; ``who``: a token of ``PEOPLE``, ``key+``, ``key-`` or ``nobody``."""
    rule = MATRIX[name]
    if rule.reach is Reach.OPEN:
        return True
    if who == "nobody" or (rule.reach is Reach.ORGANIZATION and not own):
        return False
    if who in {"key+", "key-"}:
        return rule.key_scope is not None and (who == "key+" or rule.key_scope == ANY_SCOPE)
    person = PEOPLE[who]
    signed_in = not person.scopes.isdisjoint(rule.sign_in)
    if rule.recent and person.authenticated_at is None:
        return False
    return signed_in and (rule.reach is Reach.OWN or ROLES.get(person.email) in rule.roles)
