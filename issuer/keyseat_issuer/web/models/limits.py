"""How often something was tried: one row per key and running window."""

from django.db import models


class RateWindow(models.Model):
    """A running window of attempts. ``key`` is a keyed hash, so that no list of addresses builds up here."""

    key = models.CharField(primary_key=True, max_length=64)
    ends_at = models.DateTimeField(db_index=True)
    attempts = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.attempts} attempts"
