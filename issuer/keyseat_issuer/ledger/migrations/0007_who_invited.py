"""An invitation says who gave it out; servers of the version before leave that out, for the day that it lasts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    additive = True

    dependencies = [("ledger", "0006_leases_that_linger")]

    operations = [
        migrations.AddField("invitation", "invited_by", models.CharField(max_length=264, default="", db_default="")),
    ]
