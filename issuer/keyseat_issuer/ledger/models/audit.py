"""The audit log, hash-chained and append-only, and its head."""

from django.db import models
from django.db.models import Q

from keyseat_issuer.ledger.models.organizations import Organization
from keyseat_issuer.ledger.tools.append_only import AppendOnlyModel, AppendOnlyQuerySet

ZERO_DIGEST = "0" * 64
"""What the first row names as its predecessor."""


class AuditEvent(AppendOnlyModel):
    """One act: when, who, what, on what. ``details`` is JSON text; ``digest`` covers the row and its predecessor."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=64)
    # `audit_by_organization` serves its look-ups, and in the order of the log.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, related_name="audit_events", db_index=False
    )
    subject = models.CharField(max_length=400)
    details = models.TextField()
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    objects = AppendOnlyQuerySet["AuditEvent"].as_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = (models.CheckConstraint(condition=Q(seq__gte=1), name="audit_seq_positive"),)
        indexes = (
            models.Index(fields=("action", "subject"), name="audit_by_subject"),
            models.Index(fields=("organization", "seq"), name="audit_by_organization"),
        )


class AuditHead(models.Model):
    """The one row that names the newest audit event; its lock puts audit rows into one order.

    ``boot``, ``anchor_uptime`` (seconds) and ``anchor_at`` say when the machine's clock was last believed: on SQLite
    the ledger's time is counted from there. Empty on PostgreSQL, whose own clock is asked.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()
    boot = models.CharField(max_length=64, default="", db_default="")
    anchor_uptime = models.BigIntegerField(default=0, db_default=0)
    anchor_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="audit_head_only_one"),)

    def __str__(self) -> str:
        return f"audit head {self.seq}"
