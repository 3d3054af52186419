"""The head of the audit log keeps when the clock was last believed; servers of the version before do without."""

from django.db import migrations, models


class Migration(migrations.Migration):
    additive = True

    dependencies = [("ledger", "0003_folded_names")]

    operations = [
        migrations.AddField("audithead", "boot", models.CharField(max_length=64, default="", db_default="")),
        migrations.AddField("audithead", "anchor_uptime", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("audithead", "anchor_at", models.DateTimeField(null=True)),
    ]
