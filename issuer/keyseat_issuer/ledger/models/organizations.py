"""Accounts (customers), their organisations, and the people in them with their roles."""

import unicodedata
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

MAX_NAME = 200
MAX_EMAIL = 254
"""Longest e-mail address in characters (RFC 5321 limits the path to 256 octets, angle brackets included)."""


def fold_name(name: str) -> str:
    """Return what two names have in common that differ only in upper and lower case (Unicode, D145).

    Databases do not agree on it: SQLite knows the letters of ASCII only, PostgreSQL those of its locale.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


class Role(models.TextChoices):
    """What a member may do (docs/spec/admin-api.md)."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    MEMBER = "member"


class Account(models.Model):
    """A customer; its name is unique, however it is capitalised: ``folded`` is what is compared."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=MAX_NAME)
    folded = models.TextField(editable=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("folded",), name="account_name_unique"),
            models.CheckConstraint(condition=~Q(name=""), name="account_name_not_empty"),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Keep ``folded`` in step with the name."""
        self.folded = fold_name(self.name)
        super().save(*arguments, **options)


class Organization(models.Model):
    """An organisation of an account; its name is unique within the account, in the same way."""

    id = models.UUIDField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="organizations")
    name = models.CharField(max_length=MAX_NAME)
    folded = models.TextField(editable=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "folded"), name="organization_name_unique"),
            models.CheckConstraint(condition=~Q(name=""), name="organization_name_not_empty"),
        )
        indexes = (models.Index(fields=("folded",), name="organization_by_name"),)

    def __str__(self) -> str:
        return self.name

    def save(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Keep ``folded`` in step with the name."""
        self.folded = fold_name(self.name)
        super().save(*arguments, **options)


class Membership(models.Model):
    """A person in an organisation. ``email`` is stored in lower case."""

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="memberships")
    email = models.CharField(max_length=MAX_EMAIL)
    role = models.CharField(max_length=16, choices=Role.choices)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint("organization", Lower("email"), name="membership_email_unique"),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="membership_email_lower_case"),
            models.CheckConstraint(condition=Q(email__contains="@"), name="membership_email_has_at"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        )
        indexes = (models.Index(fields=("email",), name="membership_by_email"),)

    def __str__(self) -> str:
        return f"{self.email} ({self.role})"


class Invitation(models.Model):
    """An invitation to join, by a link that ends after a while. Only the hash of its token is kept."""

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invitations")
    email = models.CharField(max_length=MAX_EMAIL)
    role = models.CharField(max_length=16, choices=Role.choices)
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    invited_by = models.CharField(max_length=MAX_EMAIL + 10, default="", db_default="")
    link_shown = models.BooleanField(default=False, db_default=False)
    """Whoever gave it out has seen the link."""
    account_unproven = models.BooleanField(default=False, db_default=False)
    """Its link was shown and made the account, and nothing has proven the address since."""

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(email=Lower("email")), name="invitation_email_lower_case"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role_known"),
            models.CheckConstraint(
                condition=Q(expires_at__gt=models.F("created_at")), name="invitation_ends_after_start"
            ),
        )

    def __str__(self) -> str:
        return f"invitation of {self.email}"
