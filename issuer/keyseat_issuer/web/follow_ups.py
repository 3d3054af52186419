"""What follows by itself: a new password ends the sign-ins of clients; a sign-in clears out what has expired."""

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

from keyseat_issuer.ledger.customers import claims
from keyseat_issuer.ledger.customers.inviters import of_user
from keyseat_issuer.web import accounts, known_devices, tokens
from keyseat_issuer.web.device import KEPT_AFTER_EXPIRY
from keyseat_issuer.web.models import DeviceAuthorization, RateWindow, User, UserToken


def connect() -> None:
    """Connect the signals; connecting twice is connecting once."""
    for signal in (password_changed, password_reset, password_set):
        signal.connect(_end_clients, dispatch_uid="keyseat.end-clients")
        # The link of a reset mail is a proof, too: a person who was locked out gets in with the new password.
        signal.connect(_know_device, dispatch_uid="keyseat.know-device")
    password_reset.connect(_prove_address, dispatch_uid="keyseat.prove-address")
    user_logged_in.connect(_know_device, dispatch_uid="keyseat.know-device")
    user_logged_in.connect(_clear_out, dispatch_uid="keyseat.clear-out")


def _end_clients(user: User, **_arguments: Any) -> None:  # noqa: ANN401 - a signal's arguments
    """End the sign-ins of all clients: a thief of the old password may have signed one in."""
    tokens.end_all(user, timezone.now())


def _prove_address(user: User, **_arguments: Any) -> None:  # noqa: ANN401 - a signal's arguments
    """Whoever has a reset's link has the address, or got the link from the vendor.

    A second factor of an unproven account may be that of the person who was shown the link: it goes, first.
    """
    now = timezone.now()
    if claims.unproven([user.email]) and Authenticator.objects.filter(user=user).exists():
        accounts.forget_second_factor(user.email, actor=of_user(user.email), now=now)
    claims.prove_by_reset(user.email, now)


def _know_device(user: User, request: HttpRequest | None = None, **_arguments: Any) -> None:  # noqa: ANN401 - as above
    known_devices.note(request, user)


def _clear_out(**_arguments: Any) -> None:  # noqa: ANN401 - a signal's arguments
    """Delete expired rows, each by its index. Tied to sign-ins, so that no sweeper has to run."""
    now = timezone.now()
    Session.objects.filter(expire_date__lte=now).delete()
    DeviceAuthorization.objects.filter(expires_at__lte=now - KEPT_AFTER_EXPIRY).delete()
    UserToken.objects.filter(expires_at__lte=now).delete()
    RateWindow.objects.filter(ends_at__lte=now).delete()
