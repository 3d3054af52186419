"""Leases that outlive their sessions are counted per pool; servers of the version before go on writing rows without it."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Add the counter, the mark on the lease with its end, and the indexes over those few rows."""

    additive = True

    dependencies = [("ledger", "0005_additive_migrations")]

    operations = [
        migrations.AddField("pool", "lingering", models.IntegerField(default=0, db_default=0)),
        migrations.AddField("lease", "lingering", models.BooleanField(default=False, db_default=False)),
        migrations.AddField("lease", "lingers_until", models.DateTimeField(null=True)),
        migrations.AddIndex(
            "lease",
            models.Index(fields=("pool", "expires_at"), condition=Q(lingering=True), name="lease_lingering_by_expiry"),
        ),
        migrations.AddIndex(
            "lease",
            models.Index(fields=("pool", "machine_id"), condition=Q(lingering=True), name="lease_lingering_machine"),
        ),
        migrations.AddIndex(
            "lease",
            models.Index(
                fields=("holder", "product"), condition=Q(lingering=True, seats=0), name="lease_lingering_holder"
            ),
        ),
        migrations.AddIndex(
            "lease",
            models.Index(
                fields=("holder", "product", "ended_at"), condition=Q(ending="TAKEN_OVER"), name="lease_taken_over"
            ),
        ),
    ]
