"""Registers the app under the label ``console``."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """License management. ``vendor`` is set and read by ``keyseat_issuer.console.vendor``, which needs the models."""

    name = "keyseat_issuer.console"
    label = "console"
    verbose_name = "Console"
    vendor: object = None
