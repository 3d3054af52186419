"""An invitation says whether its link was shown, and whether the account that it made is unproven (ADR 59)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    additive = True

    dependencies = [("ledger", "0010_indexes_for_lists")]

    operations = [
        migrations.AddField("invitation", "link_shown", models.BooleanField(default=False, db_default=False)),
        migrations.AddField("invitation", "account_unproven", models.BooleanField(default=False, db_default=False)),
    ]
