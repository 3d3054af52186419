"""Online sessions with their leases, and the API keys that hold them.

A floating session takes a seat of its pool (``seats`` 1, counted in ``Pool.used``); a named user's session takes none,
because the assignment did. Rows change only while ``ended_at`` is empty; the past stays for the usage report.
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from keyseat_issuer.ledger.models.organizations import MAX_EMAIL, MAX_NAME, Organization
from keyseat_issuer.ledger.models.seats import Pool

MAX_MACHINE_ID = 90


class SessionEnding(models.TextChoices):
    """Why a session ended; the values are what clients read (docs/spec/client-api.md)."""

    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    TAKEN_OVER = "TAKEN_OVER"
    SEAT_MOVED = "SEAT_MOVED"
    UNASSIGNED = "UNASSIGNED"
    MEMBER_REMOVED = "MEMBER_REMOVED"
    CONVERTED = "CONVERTED"
    MACHINE_REMOVED = "MACHINE_REMOVED"
    FORCED = "FORCED"
    SUBSCRIPTION_ENDED = "SUBSCRIPTION_ENDED"


class ApiKey(models.Model):
    """A key that programs of an organisation sign in with. Only the SHA-256 of its text is kept.

    ``scopes`` are separated by spaces. ``prefix`` is public: it names the key in lists and logs.
    """

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="api_keys")
    prefix = models.CharField(max_length=16, unique=True)
    key_sha256 = models.CharField(max_length=64)
    name = models.CharField(max_length=MAX_NAME)
    scopes = models.CharField(max_length=400)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=len("user:") + MAX_EMAIL)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=~Q(scopes=""), name="api_key_has_scopes"),
            models.CheckConstraint(condition=~Q(name=""), name="api_key_has_name"),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="api_key_ends_after_start",
            ),
        )

    def __str__(self) -> str:
        return f"API key {self.prefix}"


class Lease(models.Model):
    """One session on one machine; its id is the session id. Live while ``ended_at`` is empty and ``now < expires_at``.

    ``holder`` is the user's e-mail address, or ``key:`` and the API key's prefix. ``idempotency`` is a digest of the
    caller and the request's Idempotency-Key; ``request_sha256`` of what was asked under it.

    A session that ends before its lease leaves that lease in the world: it is ``lingering``, and counts in
    ``Pool.lingering``, until the lease ends or a new session on the same machine takes its place. ``lingers_until``
    tells when that was or will be.
    """

    id = models.UUIDField(primary_key=True)
    # The indexes below serve every look-up, so the foreign keys need none of their own.
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="leases", db_index=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="leases", db_index=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, related_name="leases", db_index=False)
    product = models.CharField(max_length=32)
    holder = models.CharField(max_length=MAX_EMAIL)
    email = models.CharField(max_length=MAX_EMAIL, blank=True, default="")
    machine_id = models.CharField(max_length=MAX_MACHINE_ID)
    seats = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    renewed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ending = models.CharField(max_length=24, choices=SessionEnding.choices, blank=True, default="")
    idempotency = models.CharField(max_length=64, unique=True, null=True)  # noqa: DJ001 - only NULLs may repeat
    request_sha256 = models.CharField(max_length=64, blank=True, default="")
    lingering = models.BooleanField(default=False, db_default=False)
    lingers_until = models.DateTimeField(null=True)

    class Meta:
        """Constraints, and indexes over live rows only: a million ended sessions do not slow the next one down."""

        constraints = (
            models.CheckConstraint(condition=Q(seats__lte=1), name="lease_seats_at_most_one"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("started_at")), name="lease_ends_after_start"),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="lease_email_lower_case"),
            models.CheckConstraint(
                condition=Q(email="", api_key__isnull=False) | (~Q(email="") & Q(api_key__isnull=True)),
                name="lease_key_or_user",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ending="")
                | Q(ended_at__isnull=False, ending__in=SessionEnding.values),
                name="lease_ending_told",
            ),
        )
        indexes = (
            models.Index(
                fields=("pool", "expires_at"), condition=Q(ended_at__isnull=True), name="lease_live_by_expiry"
            ),
            models.Index(
                fields=("machine_id", "holder"), condition=Q(ended_at__isnull=True), name="lease_live_by_machine"
            ),
            models.Index(fields=("holder", "product"), condition=Q(ended_at__isnull=True), name="lease_live_by_holder"),
            # Lists of a product's live sessions, and of the machines with one.
            models.Index(
                fields=("organization", "product", "-started_at", "id"),
                condition=Q(ended_at__isnull=True),
                name="lease_live_in_order",
            ),
            models.Index(
                fields=("organization", "product", "machine_id"),
                condition=Q(ended_at__isnull=True),
                name="lease_live_machines",
            ),
            # Of ended sessions as well, each ordered by an instant: the usage report and the roll-up of usage.
            models.Index(fields=("organization", "started_at", "id"), name="lease_in_order"),
            models.Index(fields=("organization", "ended_at"), condition=Q(ended_at__isnull=False), name="lease_by_end"),
            models.Index(
                fields=("organization", "lingers_until"),
                condition=Q(lingers_until__isnull=False),
                name="lease_by_linger_end",
            ),
            models.Index(fields=("pool", "expires_at"), condition=Q(lingering=True), name="lease_lingering_by_expiry"),
            models.Index(fields=("pool", "machine_id"), condition=Q(lingering=True), name="lease_lingering_machine"),
            models.Index(
                fields=("holder", "product"), condition=Q(lingering=True, seats=0), name="lease_lingering_holder"
            ),
            models.Index(
                fields=("holder", "product", "ended_at"),
                condition=Q(ending=SessionEnding.TAKEN_OVER),
                name="lease_taken_over",
            ),
        )

    def __str__(self) -> str:
        return f"{self.product} session {self.id}"
