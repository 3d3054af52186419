"""Servers learn from the ledger which newer migrations they can go on with."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the table of additive migrations."""

    additive = True

    dependencies = [("ledger", "0004_audit_anchor")]

    operations = [
        migrations.CreateModel(
            "AdditiveMigration",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("app", models.CharField(max_length=255)),
                ("name", models.CharField(max_length=255)),
            ],
            {
                "constraints": (
                    models.UniqueConstraint(fields=("app", "name"), name="additive_migration_once"),
                )
            },
        ),
    ]
