"""Registers the app under the label ``console``."""

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from keyseat_issuer.console.vendor import Vendor


class ConsoleConfig(AppConfig):
    """License management. The server sets ``vendor`` (``keyseat_issuer.console.vendor.use``)."""

    name = "keyseat_issuer.console"
    label = "console"
    verbose_name = "Console"
    vendor: "Vendor | None" = None
