"""What entitles a program to run, and the refusal that says why nothing does."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

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


class NotEntitled(KeyseatError):  # noqa: N818 - the name is in the contract (design, section 7)
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
