"""Making the application of a process: set Django up, check the ledger, unlock the lease key."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from keyseat_issuer.api.calls import App
from keyseat_issuer.home import issuer_home, load_trust
from keyseat_issuer.server import django
from keyseat_issuer.trust.history import in_force
from keyseat_issuer.web.public_url import trusted_proxies
from keyseat_issuer.web.secret import ensure_secret
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc

if TYPE_CHECKING:
    from keyseat_issuer.api.service import Service

RATE_VARIABLE = "KEYSEAT_RATE_LIMIT"


def prepare(
    passphrase: Callable[[], str], *, allow_example_keys: bool = False, with_license_key: bool = False
) -> Callable[[], App]:
    """Check that the service can run, and return what makes a process's application.

    Everything that can be wrong is found here, before the socket is opened: environment, ledger, trust, key. The
    database connection is closed again, so that the caller may fork. ``with_license_key`` unlocks the licence keys as
    well, so that organisations convert their seats themselves.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``, ``KEY_UNAVAILABLE``, ``UNREADABLE``, ``INVALID_INPUT``.
        TrustError: where there is no usable trust bundle.
    """
    home = issuer_home()
    load_trust(home, allow_example_keys=allow_example_keys)
    proxies = trusted_proxies()
    ensure_secret()
    django.setup()
    from keyseat_issuer.ledger.tools.bounds import bound_waits

    bound_waits()
    django.require_ready()
    if not allow_example_keys:
        in_force(home)  # refuses a bundle that is not on record
    from django.db import connections

    from keyseat_issuer.ledger.audit.clock_correction import require_right

    require_right(now_utc())
    connections.close_all()
    from keyseat_issuer.api.licensing import LicenseKeys
    from keyseat_issuer.api.throttle import DEFAULT_CALLS, Throttle
    from keyseat_issuer.api.trust_source import TrustSource

    limit = os.environ.get(RATE_VARIABLE, "").strip() or DEFAULT_CALLS
    try:
        Throttle(calls=limit)
    except ValueError:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT, f"{RATE_VARIABLE} is not like 6000/minute", details={"value": limit[:40]}
        ) from None
    word = passphrase()
    trust = TrustSource(home, word, now_utc(), allow_example_keys=allow_example_keys)
    licensing = LicenseKeys(home, word, now_utc(), allow_example_keys=allow_example_keys) if with_license_key else None

    def make() -> App:
        from keyseat_issuer.api.service import Service
        from keyseat_issuer.server.app import create_app
        from keyseat_issuer.web.tokens import authenticate

        service = Service(
            trust,
            throttle=Throttle(calls=limit),
            find_user=authenticate,
            trusted_proxies=proxies,
            licensing=licensing,
        )
        return create_app(service, web=lambda: _web(service))

    return make


def _web(service: "Service") -> App:
    from keyseat_issuer.server.pages import build  # late: when the first page is asked for

    return cast("App", build(service))
