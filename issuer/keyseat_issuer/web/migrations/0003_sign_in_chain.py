"""One chain of tokens a sign-in, and when its person was last asked who they are; older servers do without."""

from django.db import migrations, models


class Migration(migrations.Migration):
    additive = True

    dependencies = [("web", "0002_cache_table")]

    operations = [
        migrations.AddField("usertoken", "next_pair", models.CharField(max_length=128, default="", db_default="")),
        migrations.AddField("clientsignin", "authenticated_at", models.DateTimeField(null=True)),
        migrations.AddField("deviceauthorization", "authenticated_at", models.DateTimeField(null=True)),
    ]
