"""Previews of conversions that wait for a person's confirmation."""

from django.db import models
from django.db.models import F, Q

from keyseat_issuer.ledger.models.organizations import Organization


class Confirmation(models.Model):
    """A preview that was shown to a person: the request, and a digest of the outcome.

    Only the hash of its token is kept. ``request`` is the request as JSON; ``preview_sha256`` covers all of
    the preview that the person decided upon (``ledger/offline/confirmations.py``).
    """

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="confirmations")
    token_sha256 = models.CharField(max_length=64, unique=True)
    actor = models.CharField(max_length=300)
    request = models.TextField()
    preview_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="confirmation_ends_after_start"),
        )
        indexes = (models.Index(fields=("expires_at",), name="confirmation_by_expiry"),)

    def __str__(self) -> str:
        return f"confirmation {self.id}"
