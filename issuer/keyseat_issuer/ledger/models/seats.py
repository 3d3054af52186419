"""Subscriptions, their pools of seats, who holds a seat, and the offline licences handed out.

A pool counts its seats itself: ``used`` and ``assigned`` change only under the lock of its row
(``ledger/pools``), so that no operation counts rows, which is slow and oversells on PostgreSQL.
"""

from django.db import models
from django.db.models import F, Q

from keyseat_issuer.ledger.models.organizations import MAX_EMAIL, Organization
from keyseat_issuer.ledger.tools.append_only import AppendOnlyModel, AppendOnlyQuerySet

MAX_QUOTA = 1_000_000


class Term(models.TextChoices):
    """How long a subscription's period is."""

    ANNUAL = "annual"
    MONTHLY = "monthly"
    TRIAL = "trial"


class SeatKind(models.TextChoices):
    """Whose a product's seats are: a user's, or any running session's."""

    NAMED = "named"
    FLOATING = "floating"


class AllocationKind(models.TextChoices):
    """What holds a seat for long: a user it is assigned to, an offline licence. Live sessions are ``Lease`` rows."""

    NAMED = "named"
    OFFLINE = "offline"


class Ending(models.TextChoices):
    """Why an allocation ended."""

    UNASSIGNED = "unassigned"
    TRANSFERRED = "transferred"
    CONVERTED = "converted"
    EXPIRED = "expired"
    MEMBER_REMOVED = "member-removed"


class Subscription(models.Model):
    """What an organisation bought, from ``starts_at`` until ``ends_at`` (exclusive)."""

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="subscriptions")
    term = models.CharField(max_length=16, choices=Term.choices)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="subscription_ends_after_start"),
            models.CheckConstraint(condition=Q(term__in=Term.values), name="subscription_term_known"),
        )
        indexes = (models.Index(fields=("organization", "ends_at"), name="subscription_by_end"),)

    def __str__(self) -> str:
        return f"{self.term} subscription {self.id}"


class Pool(models.Model):
    """The seats of one product in one subscription.

    ``used``: seats that are taken (named products: assignments and offline licences; floating ones: live
    sessions and offline licences). ``assigned``: licensed users of a floating product, who hold no seat.
    ``lingering``: leases in the world whose sessions ended early (``Lease.lingering``).
    """

    id = models.UUIDField(primary_key=True)
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="pools")
    product = models.CharField(max_length=32)
    seats = models.CharField(max_length=16, choices=SeatKind.choices)
    quota = models.PositiveIntegerField()
    used = models.IntegerField(default=0)
    assigned = models.IntegerField(default=0)
    lingering = models.IntegerField(default=0, db_default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("subscription", "product"), name="pool_unique"),
            models.CheckConstraint(condition=Q(quota__gte=1, quota__lte=MAX_QUOTA), name="pool_quota_in_range"),
            models.CheckConstraint(condition=Q(used__gte=0, used__lte=F("quota")), name="pool_used_within_quota"),
            models.CheckConstraint(condition=Q(assigned__gte=0), name="pool_assigned_not_negative"),
            models.CheckConstraint(
                condition=Q(seats=SeatKind.FLOATING) | Q(assigned=0), name="pool_assigned_floating_only"
            ),
            models.CheckConstraint(condition=Q(seats__in=SeatKind.values), name="pool_seats_known"),
        )

    def __str__(self) -> str:
        return f"{self.product} pool {self.id}"


class Allocation(models.Model):
    """Seats of a pool held by somebody or something: live while ``released_at`` is empty.

    ``holder`` is an e-mail address, or a licence's id; ``count`` is how many seats it takes.
    """

    id = models.UUIDField(primary_key=True)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="allocations")
    kind = models.CharField(max_length=16, choices=AllocationKind.choices)
    holder = models.CharField(max_length=MAX_EMAIL)
    count = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)
    ending = models.CharField(max_length=16, choices=Ending.choices, default="")

    class Meta:
        """Constraints, and indexes over live rows only: the past does not slow the present down."""

        constraints = (
            models.UniqueConstraint(
                fields=("pool", "holder"),
                condition=Q(kind=AllocationKind.NAMED, released_at__isnull=True),
                name="allocation_one_named_seat",
            ),
            models.CheckConstraint(condition=Q(kind__in=AllocationKind.values), name="allocation_kind_known"),
            models.CheckConstraint(condition=Q(count__gte=1), name="allocation_count_positive"),
            models.CheckConstraint(condition=~Q(holder=""), name="allocation_has_holder"),
            models.CheckConstraint(
                condition=Q(kind=AllocationKind.NAMED, count=1, expires_at__isnull=True)
                | (~Q(kind=AllocationKind.NAMED) & Q(expires_at__isnull=False)),
                name="allocation_expires_unless_named",
            ),
            models.CheckConstraint(
                condition=Q(released_at__isnull=True, ending="")
                | Q(released_at__isnull=False, ending__in=Ending.values),
                name="allocation_ending_told",
            ),
            # An offline seat stays taken until it expires, whatever happens to user or subscription.
            models.CheckConstraint(
                condition=~Q(kind=AllocationKind.OFFLINE)
                | Q(released_at__isnull=True)
                | Q(released_at__gte=F("expires_at")),
                name="allocation_offline_until_expiry",
            ),
        )
        indexes = (
            models.Index(
                fields=("pool", "kind", "expires_at"),
                condition=Q(released_at__isnull=True),
                name="allocation_live_by_expiry",
            ),
            models.Index(
                fields=("holder", "kind"), condition=Q(released_at__isnull=True), name="allocation_live_by_holder"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} allocation {self.id}"


class OfflineLicense(AppendOnlyModel):
    """An offline licence as it was handed out: ``file`` holds its exact bytes. Append-only.

    ``user`` is empty for floating products. ``idempotency_key`` (64 hex digits, or empty) names the
    line of a batch that it was issued for.
    """

    license_id = models.UUIDField(primary_key=True)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="offline_licenses")
    allocation = models.OneToOneField(Allocation, on_delete=models.PROTECT, related_name="offline_license")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="offline_licenses")
    product = models.CharField(max_length=32)
    user = models.CharField(max_length=MAX_EMAIL, blank=True, default="")
    machine_id = models.CharField(max_length=90)
    sessions = models.PositiveIntegerField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    file = models.BinaryField()
    file_sha256 = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=64, blank=True, default="")

    objects = AppendOnlyQuerySet["OfflineLicense"].as_manager()

    class Meta:
        # `_base_manager` serves related look-ups and refuses changes as well.
        base_manager_name = "objects"
        constraints = (
            models.CheckConstraint(condition=Q(expires_at__gt=F("issued_at")), name="offline_ends_after_issue"),
            models.CheckConstraint(condition=Q(sessions__gte=1), name="offline_sessions_positive"),
        )
        indexes = (
            models.Index(fields=("machine_id", "expires_at"), name="offline_by_machine"),
            models.Index(fields=("organization", "product", "user"), name="offline_by_user"),
            models.Index(fields=("expires_at",), name="offline_by_expiry"),
            models.Index(fields=("organization", "product", "expires_at"), name="offline_by_product_expiry"),
            models.Index(fields=("organization", "product", "issued_at"), name="offline_by_issue"),
            models.Index(fields=("idempotency_key",), condition=~Q(idempotency_key=""), name="offline_by_batch_line"),
        )
