"""Registers the app under the label ``web``."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """Accounts, device grant and pages."""

    name = "keyseat_issuer.web"
    label = "web"
    verbose_name = "Sign-in"

    def ready(self) -> None:
        """Connect what has to follow a sign-in or a new password."""
        from keyseat_issuer.web import follow_ups  # noqa: PLC0415 - needs the models, which exist only now

        follow_ups.connect()
