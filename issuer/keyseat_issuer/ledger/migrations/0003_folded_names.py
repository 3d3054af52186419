"""Names are compared by a column that every database agrees on; API keys can be of people with the longest address."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from keyseat_issuer.ledger.models.organizations import fold_name


def _fold(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    alias = schema_editor.connection.alias
    taken: set[tuple[object, str]] = set()
    for name in ("Account", "Organization"):
        rows = apps.get_model("ledger", name).objects.using(alias)
        for row in rows.order_by("created_at", "pk"):
            within = getattr(row, "account_id", None)
            row.folded = fold_name(row.name)
            if (within, row.folded) in taken:
                # SQLite let "Ärzte" and "ärzte" live side by side: the younger one is found by its id from now on.
                row.folded = f"{row.folded} {row.pk}"
            taken.add((within, row.folded))
            row.save(update_fields=("folded",))
        taken.clear()


class Migration(migrations.Migration):
    """Add ``folded`` to accounts and organisations, and make it what is unique."""

    dependencies = [("ledger", "0002_audit_head")]

    operations = [
        migrations.AddField("account", "folded", models.TextField(default="", editable=False), preserve_default=False),
        migrations.AddField(
            "organization", "folded", models.TextField(default="", editable=False), preserve_default=False
        ),
        migrations.RemoveConstraint("account", "account_name_unique"),
        migrations.RemoveConstraint("organization", "organization_name_unique"),
        migrations.RunPython(_fold, migrations.RunPython.noop),
        migrations.AddConstraint(
            "account", models.UniqueConstraint(fields=("folded",), name="account_name_unique")
        ),
        migrations.AddConstraint(
            "organization", models.UniqueConstraint(fields=("account", "folded"), name="organization_name_unique")
        ),
        migrations.AddIndex("organization", models.Index(fields=("folded",), name="organization_by_name")),
        migrations.AlterField("apikey", "created_by", models.CharField(max_length=259)),
    ]
