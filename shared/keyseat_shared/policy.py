"""The vendor's rules as data: product catalogue, eligible terms, sunset, lease lengths."""

from datetime import UTC, datetime
from typing import NamedTuple

from keyseat_shared import fields
from keyseat_shared.instants import format_instant
from keyseat_shared.strictjson import dumps_compact, malformed, require_keys

NAMED = "named"
FLOATING = "floating"
DEFAULT_SUNSET = datetime(2024, 1, 17, tzinfo=UTC)
"""The instant at which the vendor ended offline licence generation."""

_PRODUCT_KEYS = frozenset({"name", "seats", "assigned_users"})
_POLICY_KEYS = frozenset({"sunset", "eligible_terms", "products", "lease"})
_POLICY_OPTIONAL = frozenset({"forbidden_evidence", "max_years", "freshness_required"})
OFFLINE = "offline"
ONLINE = "lease"
FRESHNESS: tuple[str, ...] = (ONLINE,)
"""What a fresh trust bundle is required for, where a policy does not say and the bundle has a ``fresh_until``."""
_LEASE_KEYS = frozenset({"ttl", "renew_after"})
_LEASE_OPTIONAL = frozenset({"overlap", "takeovers"})
_MAX_PRODUCTS = 64
MAX_YEARS = 10
"""Years for which a subscription is bought at once at most, where a policy does not say."""
_MOST_YEARS = 100
LONGEST_LEASE = 90 * 24 * 3600
"""Seconds for which a lease lasts at most, under any policy."""
_MAX_OVERLAP = _MAX_TAKEOVERS = 1000
OVERLAP = 100
"""Leases that may run on after their sessions have ended, in percent of the quota, where a policy does not say."""
TAKEOVERS = 10
"""How often a user's session may be taken over within an hour, where a policy does not say."""
EVIDENCE_KINDS = frozenset({"instance-file", "host-id"})
"""Kinds of weaker machine evidence that a policy can forbid."""


class Product(NamedTuple):
    """One product: ``seats`` is ``named`` or ``floating``, ``assigned_users`` is ``quota`` or ``unlimited``."""

    name: str
    seats: str
    assigned_users: str = "quota"


class Policy(NamedTuple):
    """The rules in force. ``lease_ttl`` and ``lease_renew_after`` are seconds; ``sunset`` may be ``None``.

    ``max_years`` is the longest period of a subscription, of whatever term, in calendar years.
    ``freshness_required`` names what a stale trust bundle decides nothing about: ``offline``, ``lease``.
    ``lease_overlap`` is in percent of the quota, ``lease_takeovers`` per user and hour.
    """

    sunset: datetime | None
    eligible_terms: tuple[str, ...]
    products: dict[str, Product]
    lease_ttl: int
    lease_renew_after: int
    forbidden_evidence: tuple[str, ...] = ()
    max_years: int = MAX_YEARS
    freshness_required: tuple[str, ...] = FRESHNESS
    lease_overlap: int = OVERLAP
    lease_takeovers: int = TAKEOVERS

    @classmethod
    def from_dict(cls, value: dict[str, object]) -> "Policy":
        """Read the ``policy`` object of a trust bundle.

        Raises:
            MalformedError: ``MALFORMED``.
        """
        require_keys(value, "policy", _POLICY_KEYS, _POLICY_OPTIONAL)
        listed = fields.mapping(value["products"], "products")
        if not 0 < len(listed) <= _MAX_PRODUCTS:
            malformed(f"products does not hold 1 to {_MAX_PRODUCTS} entries")
        lease = fields.mapping(value["lease"], "lease")
        require_keys(lease, "lease", _LEASE_KEYS, _LEASE_OPTIONAL)
        ttl = fields.whole(lease["ttl"], "lease ttl", 1, LONGEST_LEASE)
        forbidden = fields.codes(value.get("forbidden_evidence", []), "forbidden_evidence")
        if not EVIDENCE_KINDS.issuperset(forbidden):
            malformed(f"forbidden_evidence knows only {', '.join(sorted(EVIDENCE_KINDS))}")
        fresh = FRESHNESS
        if "freshness_required" in value:
            fresh = fields.codes(value["freshness_required"], "freshness_required")
            if not {OFFLINE, ONLINE}.issuperset(fresh):
                malformed(f"freshness_required knows only {ONLINE} and {OFFLINE}")
        return cls(
            sunset=None if value["sunset"] is None else fields.instant(value["sunset"], "sunset"),
            eligible_terms=fields.codes(value["eligible_terms"], "eligible_terms"),
            products={fields.code(key, "product"): _product(entry) for key, entry in listed.items()},
            lease_ttl=ttl,
            lease_renew_after=fields.whole(lease["renew_after"], "lease renew_after", 1, ttl),
            forbidden_evidence=forbidden,
            max_years=fields.whole(value.get("max_years", MAX_YEARS), "max_years", 1, _MOST_YEARS),
            freshness_required=fresh,
            lease_overlap=fields.whole(lease.get("overlap", OVERLAP), "lease overlap", 0, _MAX_OVERLAP),
            lease_takeovers=fields.whole(lease.get("takeovers", TAKEOVERS), "lease takeovers", 0, _MAX_TAKEOVERS),
        )

    def to_dict(self) -> dict[str, object]:
        """Write the policy with its keys in a fixed order, products sorted by code."""
        lease = {"ttl": self.lease_ttl, "renew_after": self.lease_renew_after}
        if self.lease_overlap != OVERLAP:
            lease["overlap"] = self.lease_overlap
        if self.lease_takeovers != TAKEOVERS:
            lease["takeovers"] = self.lease_takeovers
        written: dict[str, object] = {
            "sunset": None if self.sunset is None else format_instant(self.sunset),
            "eligible_terms": list(self.eligible_terms),
            "products": {key: self.products[key]._asdict() for key in sorted(self.products)},
            "lease": lease,
        }
        if self.forbidden_evidence:
            written["forbidden_evidence"] = list(self.forbidden_evidence)
        if self.max_years != MAX_YEARS:
            written["max_years"] = self.max_years
        if self.freshness_required != FRESHNESS:
            written["freshness_required"] = list(self.freshness_required)
        return written

    def digest(self) -> str:
        """Return ``sha256:`` and the hex digest of the compact JSON of ``to_dict``: what a licence records."""
        import hashlib  # late: only the issuer and auditors come here

        return "sha256:" + hashlib.sha256(dumps_compact(self.to_dict())).hexdigest()


def _product(value: object) -> Product:
    entry = fields.mapping(value, "product")
    require_keys(entry, "product", _PRODUCT_KEYS)
    product = Product(
        fields.text(entry["name"], "product name"),
        fields.code(entry["seats"], "seats"),
        fields.code(entry["assigned_users"], "assigned_users"),
    )
    if product.seats not in {NAMED, FLOATING} or product.assigned_users not in {"quota", "unlimited"}:
        malformed("a product has an unknown kind of seats or assigned_users")
    return product


def default_policy(sunset: datetime | None = DEFAULT_SUNSET) -> Policy:
    """Return the vendor's policy: KSE named, KRE floating, annual only, sunset on 2024-01-17."""
    return Policy(
        sunset=sunset,
        eligible_terms=("annual",),
        products={
            "KSE": Product("Katalon Studio Enterprise", NAMED),
            "KRE": Product("Katalon Runtime Engine", FLOATING),
        },
        lease_ttl=3600,
        lease_renew_after=1200,
    )
