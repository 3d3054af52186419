"""The ledger as a Django application."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Label ``ledger``: tables are named ``ledger_…``."""

    name = "keyseat_issuer.ledger"
    label = "ledger"
    verbose_name = "Ledger"
