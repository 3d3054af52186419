"""The roll-up of usage gets its table; servers of the version before do without."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the table."""

    additive = True

    dependencies = [("ledger", "0008_probe")]

    operations = [
        migrations.CreateModel(
            "UsageDay",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("product", models.CharField(max_length=32)),
                ("day", models.DateField()),
                ("through", models.DateTimeField()),
                ("online", models.IntegerField()),
                ("offline", models.IntegerField()),
                ("together", models.IntegerField()),
                ("lingering", models.IntegerField()),
                ("online_left", models.IntegerField()),
                ("offline_left", models.IntegerField()),
                ("lingering_left", models.IntegerField()),
                ("corrections", models.BigIntegerField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.organization",
                    ),
                ),
            ],
            {
                "constraints": (
                    models.UniqueConstraint(fields=("organization", "product", "day"), name="usage_day_once"),
                )
            },
        ),
    ]
