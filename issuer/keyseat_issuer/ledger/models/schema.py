"""What older versions of this software need to know of newer migrations."""

from django.db import models


class AdditiveMigration(models.Model):
    """A migration that servers which do not know it can go on with (``keyseat_issuer.ledger.schema``)."""

    app = models.CharField(max_length=255)
    name = models.CharField(max_length=255)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("app", "name"), name="additive_migration_once"),)

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"


class Probe(models.Model):
    """The one row that readiness writes: a database that can be read and not written is not ready.

    ``count`` changes each time: SQLite does not write what is there already.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    at = models.DateTimeField()
    count = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"written at {self.at}"
