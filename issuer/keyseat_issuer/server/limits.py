"""How long and how large connections may be and how many there may be: the limits, their settings, and the door."""

import logging
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol

from keyseat_issuer.api.calls import counted_as
from keyseat_issuer.api.logs import LOGGER
from keyseat_issuer.web.public_url import trusted_proxies
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

CONNECTIONS_VARIABLE = "KEYSEAT_CONNECTIONS"
DOOR = "keyseat.door"
"""Where the state of a request holds the door of its server."""
PER_ADDRESS_VARIABLE = "KEYSEAT_CONNECTIONS_PER_ADDRESS"

_log = logging.getLogger(LOGGER)
_MOST = 1_000_000
_DEFAULT = 4096
_DEFAULT_PER_ADDRESS = 256
_WANTED_FILES = 65_536
_KEPT_FILES = 256
"""File descriptors kept for the database, logs, and what starts the service."""
_NOTHING = ("", "unknown")
"""What peers without an address of their own are called."""


class Limits(NamedTuple):
    """The limits of one process; times in seconds, sizes in bytes.

    What takes its time must go on at a rate: in each ``window``, ``least`` bytes of a body arrive, and ``least`` bytes
    of an answer are taken while some wait. A slow phone gets its report; who does not read at all gets none.
    """

    head_bytes: int = 32 * 1024
    head: float = 15.0
    window: float = 30.0
    least: int = 16 * 1024
    body_bytes: int = 1024 * 1024
    """Beyond it, which no route takes, a connection is closed after the answer instead of being read to the end."""
    idle: int = 75
    lingering: float = 5.0
    """How long a refused client may go on sending what nobody reads, so that it can read why."""
    pipelined: int = 16
    connections: int = _DEFAULT
    per_address: int = _DEFAULT_PER_ADDRESS
    """0: no limit, since proxies in front are one address for everybody."""


class Cut(StrEnum):
    """Why a connection was ended; also the values of a label, so they stay few."""

    SLOW_HEAD = "slow head"
    SLOW_BODY = "slow body"
    SLOW_READER = "slow reader"
    BAD_REQUEST = "bad request"
    LONG_HEAD = "long head"
    FULL = "full"
    ADDRESS_FULL = "address full"
    IDLE = "idle"


class Watched(Protocol):
    """A connection, as far as the door looks at it."""

    address: str

    def overdue(self, now: float) -> Cut | None:
        """Return why it must end now, if it must."""

    def end(self, why: Cut) -> None:
        """End it."""

    @property
    def resting(self) -> bool:
        """Whether it waits between two requests."""


class Door:
    """Lets connections in, ends those that take too long, and knows whether the service is about to stop."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no connections; ``clock`` gives seconds."""
        self.limits = limits or Limits()
        self.clock = clock
        self.draining = False
        self.open = 0
        self.ended: Counter[Cut] = Counter()
        self._by_address: Counter[str] = Counter()
        self._untold: Counter[Cut] = Counter()

    def enter(self, address: str) -> Cut | None:
        """Count a connection in, or return why it must stay out."""
        if self.open >= self.limits.connections:
            return Cut.FULL
        most = self.limits.per_address
        if most and address not in _NOTHING and self._by_address[address] >= most:
            return Cut.ADDRESS_FULL
        self.open += 1
        self._by_address[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Count a connection out."""
        self.open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def count(self, why: Cut) -> None:
        """Count a connection that was ended or kept out."""
        self.ended[why] += 1
        self._untold[why] += 1

    def sweep(self, connections: Iterable[Watched]) -> None:
        """Look at every connection, once a second: cheaper than timers at each request."""
        present, now = list(connections), self.clock()
        for connection in present:
            why = connection.overdue(now)
            if why is not None:
                connection.end(why)
        if self.open > self.limits.connections * 0.9:
            # An idle connection is closed before a new one is refused.
            for connection in present:
                if connection.resting:
                    connection.end(Cut.IDLE)
        # One line a reason and second, however many there were.
        for why, count in self._untold.items():
            if why is not Cut.IDLE:
                _log.warning("connections ended", extra={"reason": str(why), "count": count})
        self._untold.clear()


def address_of(peer: tuple[str, int] | None) -> str:
    """Return the address that a connection counts for: an IPv4 address, or the /64 of an IPv6 one."""
    return counted_as(peer[0]) if peer else ""


def limits_from_environment() -> Limits:
    """Return the limits, with as many connections as the system lets this process have files.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    most = _number(CONNECTIONS_VARIABLE, _DEFAULT)
    per_address = _number(PER_ADDRESS_VARIABLE, 0 if trusted_proxies() else _DEFAULT_PER_ADDRESS)
    return Limits(connections=max(1, min(most, _room())), per_address=per_address)


def _room() -> int:
    """Return for how many connections there are file descriptors, after asking for more of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _WANTED_FILES:
        more = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        except (OSError, ValueError):
            more = soft
        soft = more
    if soft == resource.RLIM_INFINITY:
        return _MOST
    # A connection may need a second file: a page's picture that it is being sent.
    return (soft - min(_KEPT_FILES, soft // 2)) // 2


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) > _MOST:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT, f"{variable} is not a number from 0 to {_MOST}", details={"value": text[:40]}
        )
    return int(text)
