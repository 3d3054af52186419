"""The audit log starts with a head that names no event."""

from datetime import UTC, datetime

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def _add_head(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    head = apps.get_model("ledger", "AuditHead")
    head.objects.using(schema_editor.connection.alias).create(
        id=1, seq=0, digest="0" * 64, at=datetime(1970, 1, 1, tzinfo=UTC)
    )


class Migration(migrations.Migration):
    """Add the one row of ``AuditHead``."""

    dependencies = [("ledger", "0001_initial")]

    operations = [migrations.RunPython(_add_head, migrations.RunPython.noop)]
