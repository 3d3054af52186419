"""The roll-up of usage: for each day on which much happened, the most that was live at once."""

from django.db import models

from keyseat_issuer.ledger.models.organizations import Organization


class UsageDay(models.Model):
    """The most of one product that an organisation had live at once on a UTC day, up to ``through`` (exclusive).

    ``together``: sessions and offline seats at one instant. ``…_left``: how much is live at ``through``, before what
    begins or ends then; the next day is counted on from it. ``corrections``: the audit row of the last correction of
    the ledger's time that was known. Nothing hangs on these rows: they can be counted anew at any time
    (``ledger/seats/usage_days.py``).
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    product = models.CharField(max_length=32)
    day = models.DateField()
    through = models.DateTimeField()
    online = models.IntegerField()
    offline = models.IntegerField()
    together = models.IntegerField()
    lingering = models.IntegerField()
    online_left = models.IntegerField()
    offline_left = models.IntegerField()
    lingering_left = models.IntegerField()
    corrections = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "product", "day"), name="usage_day_once"),)

    def __str__(self) -> str:
        return f"{self.product} on {self.day}"
