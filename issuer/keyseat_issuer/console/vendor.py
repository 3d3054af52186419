"""What the console needs of the process that serves it: the trust in force, and the licence keys where it has them."""

from datetime import datetime
from typing import Protocol, cast

from django.apps import apps

from keyseat_issuer.console.apps import ConsoleConfig
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.policy import Policy
from keyseat_shared.trust import TrustBundle


class Trust(Protocol):
    """Gives the trust bundle in force."""

    def trust(self) -> TrustBundle:
        """Return the present bundle."""

    def policy(self) -> Policy:
        """Return the policy in force."""


class Licensing(Protocol):
    """Gives the terms under which licences are signed."""

    def terms(self, actor: str, now: datetime) -> Terms:
        """Return the terms, with a signer."""


class Vendor(Protocol):
    """Trust, and ``licensing`` where organisations convert seats themselves (``server.service.Service``)."""

    @property
    def trust(self) -> Trust:
        """The trust in force."""

    @property
    def licensing(self) -> Licensing | None:
        """The licence keys, or ``None`` where only Customer Success issues licences."""


def use(vendor: Vendor) -> None:
    """Serve the console of this process for this vendor."""
    _config().vendor = vendor


def in_use() -> Vendor:
    """Return the vendor that this process serves.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE`` where the pages are served by themselves.
    """
    vendor = cast("Vendor | None", _config().vendor)
    if vendor is None:
        raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, "this process serves the pages without a vendor")
    return vendor


def _config() -> ConsoleConfig:
    return cast("ConsoleConfig", apps.get_app_config(ConsoleConfig.label))
