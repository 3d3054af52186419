"""Acts that outlast a browser left open: whoever does them has typed their password within the last minutes."""

from collections.abc import Callable

from allauth.account.decorators import reauthentication_required
from django.http import HttpRequest

from keyseat_issuer.console.visits import P, View


def password_again(when: Callable[[HttpRequest], bool] | None = None) -> Callable[[View[P]], View[P]]:
    """Have a view ask for the password again, where it was not within five minutes; ``when``: only for such requests.

    Stands below ``page``, so that who may not do it at all is told so first. A form that was sent too late is kept by
    allauth and goes on after the password.
    """
    decorate: Callable[[View[P]], View[P]] = reauthentication_required(enabled=when)
    return decorate
