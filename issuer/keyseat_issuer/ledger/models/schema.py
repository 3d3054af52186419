"""What older versions of this software need to know of newer migrations."""

from django.db import models


class AdditiveMigration(models.Model):
    """A migration that servers which do not know it can go on with (``keyseat_issuer.schema``)."""

    app = models.CharField(max_length=255)
    name = models.CharField(max_length=255)

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint(fields=("app", "name"), name="additive_migration_once"),)

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"
