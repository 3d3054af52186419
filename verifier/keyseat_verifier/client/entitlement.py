"""What entitles a program to run, and the refusal that says why nothing does."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import OFFLINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from keyseat_shared.trust import TrustBundle

WARN_DAYS = 30
"""From so many days before the end an entitlement carries a warning."""


class PassedOver(NamedTuple):
    """A file (or other source) that does not entitle: where, the reason code, the message, what to do about it.

    ``path`` has ``~`` for the account's home, so that it can be logged.
    """

    path: str
    code: ReasonCode
    message: str
    next: str


class Entitlement(NamedTuple):
    """What a program may do now.

    ``source`` is ``offline``, ``lease`` or ``online``; ``expires_at`` is exclusive; ``sessions`` counts the parallel
    sessions that all valid licences of the product allow on this machine; ``user`` is ``None`` for floating products;
    ``warnings`` are sentences for people; ``passed_over`` are the files that do not count, and why.
    """

    source: str
    product: str
    organization: str
    user: str | None
    expires_at: datetime
    sessions: int
    license_id: str
    features: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


def ends_soon(expires_at: datetime, days: int, trust: "TrustBundle", now: datetime) -> list[str]:
    """Return the warnings that an offline licence with so many days left carries: of its end, and of the bundle's."""
    return [*_licence_ends(expires_at, days), *_trust_ends(trust, now)]


def _licence_ends(expires_at: datetime, days: int) -> list[str]:
    if days > WARN_DAYS:
        return []
    left = f"{days} day{'s' if days != 1 else ''} left"
    return [
        f"The offline licence ends at {format_instant(expires_at)} ({left}). Arrange online activation before that."
    ]


def _trust_ends(trust: "TrustBundle", now: datetime) -> list[str]:
    until = trust.fresh_until
    if until is None or OFFLINE not in trust.policy.freshness_required or (until - now).days > WARN_DAYS:
        return []
    told = f"Licence files need a newer trust bundle from {format_instant(until)} on."
    return [f"{told} Reach the licence server then, or get the newest trust.json from your vendor before."]


class NotEntitled(KeyseatError):  # noqa: N818 - the name that programs catch
    """Nothing entitles the program to run. ``code`` is the most telling reason, ``reasons`` are all of them."""

    def __init__(self, code: ReasonCode, message: str, reasons: Iterable[PassedOver] = (), *, next_step: str) -> None:
        """Keep the reasons; they are in ``details`` too, for logs."""
        self.reasons = tuple(reasons)
        super().__init__(
            code,
            message,
            details={"reasons": [reason._asdict() | {"code": str(reason.code)} for reason in self.reasons]},
            next_step=next_step,
        )


def as_not_entitled(error: KeyseatError) -> KeyseatError:
    """Return a refusal as the class that ``LicenseClient`` documents."""
    if isinstance(error, NotEntitled):
        return error
    refusal = NotEntitled(error.code, error.message, next_step=error.next_step)
    refusal.details |= error.details
    return refusal
