"""Indexes in the order of what is listed, so that a page costs what it shows; two that others cover go.

Not atomic: on PostgreSQL the indexes are made while servers go on writing.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

from keyseat_issuer.ledger.tools.index_operations import AddIndexMeanwhile, DropCoveredIndex, RemoveIndexMeanwhile

_LIVE = Q(ended_at__isnull=True)


class Migration(migrations.Migration):
    """Add and drop indexes."""

    additive = True
    atomic = False

    dependencies = [("ledger", "0009_usage_days")]

    operations = [
        AddIndexMeanwhile(
            "lease",
            models.Index(
                fields=("organization", "product", "-started_at", "id"), condition=_LIVE, name="lease_live_in_order"
            ),
        ),
        AddIndexMeanwhile(
            "lease",
            models.Index(fields=("organization", "product", "machine_id"), condition=_LIVE, name="lease_live_machines"),
        ),
        AddIndexMeanwhile(
            "lease", models.Index(fields=("organization", "started_at", "id"), name="lease_in_order")
        ),
        RemoveIndexMeanwhile("lease", "lease_by_start"),
        AddIndexMeanwhile(
            "lease",
            models.Index(fields=("organization", "ended_at"), condition=Q(ended_at__isnull=False), name="lease_by_end"),
        ),
        AddIndexMeanwhile(
            "lease",
            models.Index(
                fields=("organization", "lingers_until"),
                condition=Q(lingers_until__isnull=False),
                name="lease_by_linger_end",
            ),
        ),
        AddIndexMeanwhile(
            "offlinelicense",
            models.Index(fields=("organization", "product", "expires_at"), name="offline_by_product_expiry"),
        ),
        AddIndexMeanwhile(
            "offlinelicense",
            models.Index(fields=("organization", "product", "issued_at"), name="offline_by_issue"),
        ),
        AddIndexMeanwhile(
            "auditevent", models.Index(fields=("organization", "seq"), name="audit_by_organization")
        ),
        DropCoveredIndex(
            "auditevent",
            "organization",
            models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="audit_events",
                to="ledger.organization",
            ),
        ),
        # Made by Django for LIKE; nobody looks idempotency keys up by their beginning, and every renewal wrote it.
        DropCoveredIndex("lease", "idempotency"),
    ]
