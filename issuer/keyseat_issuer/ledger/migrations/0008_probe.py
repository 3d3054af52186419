"""The row that readiness writes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add its table; the row comes with the first probe."""

    additive = True

    dependencies = [("ledger", "0007_who_invited")]

    operations = [
        migrations.CreateModel(
            name="Probe",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("count", models.BigIntegerField(default=0)),
            ],
        ),
    ]
