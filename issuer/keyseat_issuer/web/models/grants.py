"""Clients that ask to be signed in (RFC 8628), clients that are, and their tokens. Codes and tokens only as hashes."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from keyseat_issuer.web.models.identifiers import new_id

MAX_DEVICE_NAME = 64
"""Longest name a client may give its machine, in characters (a DNS label has 63)."""

_DIGEST = 64


class Decision(models.TextChoices):
    """What the user said to a client's request."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


class TokenKind(models.TextChoices):
    """What a token is good for."""

    ACCESS = "access"
    REFRESH = "refresh"


class DeviceAuthorization(models.Model):
    """A client's request to be signed in: waiting, answered, or answered and collected."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    device_code_digest = models.CharField(max_length=_DIGEST, unique=True)
    user_code_digest = models.CharField(max_length=_DIGEST, unique=True)
    client_id = models.CharField(max_length=32)
    scopes = models.CharField(max_length=200)
    device_name = models.CharField(max_length=MAX_DEVICE_NAME, blank=True)
    address = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    interval = models.PositiveSmallIntegerField()
    last_polled_at = models.DateTimeField(null=True)
    decision = models.CharField(max_length=8, choices=Decision.choices, default=Decision.PENDING)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    redeemed_at = models.DateTimeField(null=True)
    authenticated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="device_ends_after_start"),
            models.CheckConstraint(condition=Q(decision__in=Decision.values), name="device_decision_known"),
            models.CheckConstraint(
                condition=Q(decision=Decision.PENDING) | Q(user__isnull=False), name="device_decided_by_somebody"
            ),
            models.CheckConstraint(
                condition=Q(redeemed_at__isnull=True) | Q(decision=Decision.APPROVED),
                name="device_redeemed_if_approved",
            ),
        )

    def __str__(self) -> str:
        return f"{self.client_id} asks ({self.decision})"


class ClientSignIn(models.Model):
    """A client on some machine that a user has signed in on; ending it ends all its tokens."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="client_sign_ins")
    client_id = models.CharField(max_length=32)
    scopes = models.CharField(max_length=200)
    device_name = models.CharField(max_length=MAX_DEVICE_NAME, blank=True)
    created_at = models.DateTimeField()
    refreshed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    authenticated_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (models.Index(fields=("user",), condition=Q(ended_at__isnull=True), name="sign_in_live_of_user"),)

    def __str__(self) -> str:
        return f"{self.client_id} on {self.device_name or 'a machine'}"


class UserToken(models.Model):
    """A bearer token of 256 random bits. Its SHA-256 is the key: such a secret needs no slow hash."""

    digest = models.CharField(primary_key=True, max_length=_DIGEST)
    sign_in = models.ForeignKey(ClientSignIn, on_delete=models.CASCADE, related_name="tokens")
    kind = models.CharField(max_length=8, choices=TokenKind.choices)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)
    next_pair = models.CharField(max_length=2 * _DIGEST, default="", db_default="")

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(kind__in=TokenKind.values), name="token_kind_known"),)

    def __str__(self) -> str:
        return f"{self.kind} token"
