"""Acts that outlast a browser left open need the password, typed within the last minutes."""

import functools
from collections.abc import Callable

from allauth.account.decorators import reauthentication_required
from allauth.account.internal.flows.reauthentication import (
    STATE_SESSION_KEY,
    raise_if_reauthentication_required,
)
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from keyseat_issuer.console.visits import P, View, Visit
from keyseat_issuer.ledger.customers.member_guards import Proof


def proof_of(request: HttpRequest) -> Proof:
    """Return what asks for the password at the act itself, where it turns out to need it (``member_guards``).

    The act is taken back, and goes on after the password.
    """
    return lambda: raise_if_reauthentication_required(request, app="keyseat")


def forget_suspended(request: HttpRequest) -> None:
    """Drop a form that waits for the password: its page is opened anew."""
    request.session.pop(STATE_SESSION_KEY, None)


def password_again(when: Callable[[HttpRequest], bool] | None = None) -> Callable[[View[P]], View[P]]:
    """Have a view ask for the password again, where it was not within five minutes; ``when``: only for such requests.

    Stands below ``page``, so that a caller without the right is told so first. A form that was sent too late is kept by
    allauth and goes on after the password, unless its page was opened anew meanwhile: nothing old happens then.
    """

    def wrap(view: View[P]) -> View[P]:
        guarded: View[P] = reauthentication_required(enabled=when, app="keyseat")(view)

        @functools.wraps(view)
        def answer(request: HttpRequest, visit: Visit, /, *arguments: P.args, **options: P.kwargs) -> HttpResponseBase:
            if request.method == "GET":
                forget_suspended(request)
            return guarded(request, visit, *arguments, **options)

        return answer

    return wrap
