"""Keeping a session alive: a daemon thread renews its lease in time, survives outages, and tells when it has ended.

While the server is away the lease counts until it ends. A session that ran out is begun again as soon as the server
answers; one that somebody ended, or that another machine took over, is over for good, and the holder is told why.
"""

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_verifier.online.api import ProblemError, jittered
from keyseat_verifier.online.desk import OnlineDesk, not_renewed
from keyseat_verifier.online.hold import Hold
from keyseat_verifier.online.leases import StoredLease
from keyseat_verifier.online.transport import Deadline
from keyseat_verifier.verify.verified import VerifiedLease

CALL_SECONDS = 20.0
TICK = 15.0
"""Seconds after which the thread looks at the clock again: a laptop that slept wakes up later than it had planned."""
_SPREAD = 0.2
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 240.0
_SHORTEST_PAUSE = 0.2
_JOIN_SECONDS = 2.0


class SessionEnd(NamedTuple):
    """Why a session has ended: ``reason`` is the server's word (``TAKEN_OVER``, ...), ``message`` is for people.

    ``is_final`` is false where the session is begun again by itself once the server answers.
    """

    code: ReasonCode
    reason: str
    message: str
    next: str
    at: datetime
    is_final: bool


OnEnded = Callable[[SessionEnd], object]
OnResumed = Callable[[VerifiedLease], object]


class Renewal:
    """Renews the lease of one hold until ``stop``. A forked child has no such thread, and no session either.

    Args:
        desk: renews and begins sessions.
        hold: the session.
        on_ended: called once when the session has ended, in a thread of its own.
        on_resumed: called when it goes on after that, in a thread of its own.
        tick: longest pause between two looks at the clock, in seconds.
    """

    def __init__(
        self,
        desk: OnlineDesk,
        hold: Hold,
        *,
        on_ended: OnEnded | None = None,
        on_resumed: OnResumed | None = None,
        tick: float | None = None,
    ) -> None:
        """Prepare; ``start`` starts the thread."""
        self._desk = desk
        self._hold = hold
        self._on_ended = on_ended
        self._on_resumed = on_resumed
        self._tick = TICK if tick is None else tick
        self._stop = threading.Event()
        self._failures = 0
        self._due = _due(hold.lease)
        self._is_known_over = False
        self.ended: SessionEnd | None = None
        self.last_failure: KeyseatError | None = None
        self._thread = threading.Thread(target=self._run, name="keyseat-renewal", daemon=True)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps the lease from being renewed now, for people."""
        failure = self.last_failure
        return () if failure is None else (not_renewed(failure, self._hold.lease),)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it; a call to the server that is under way is left behind after two seconds."""
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set() and self._hold.is_held:
            wait = self._step(self._desk.grants.clock())
            if self.ended is not None and self.ended.is_final:
                return
            self._stop.wait(min(wait, self._tick))

    def _step(self, now: datetime) -> float:
        """Do what is due at ``now``; return the seconds until something is due again."""
        lease = self._hold.lease
        if self.ended is None and now >= lease.expires_at:
            self._failures = 0  # the tries were many while the lease ran out; now the program waits for each
            self._end(_ran_out(lease, self.last_failure, now))
        if now < self._due:
            return (self._due - now).total_seconds()
        try:
            # Also after the lease has run out: while this machine slept another one may have taken the session over,
            # and must not lose it again.
            if self._is_known_over:
                self._begin_again(now)
            else:
                self._renew(now)
        except ProblemError as error:
            # A session that these credentials do not know may belong to others: its lease counts until it ends.
            is_lost = error.is_unknown and self.ended is not None and not self._is_known_over
            return self._is_gone(error, now) if error.is_gone or is_lost else self._failed(error, now)
        except KeyseatError as error:
            return self._failed(error, now)
        self._failures = 0
        self.last_failure = None
        self._due = _due(self._hold.lease)
        return max(0.0, (self._due - now).total_seconds())

    def _renew(self, now: datetime) -> None:
        renewed = self._desk.grants.renew(self._hold.stored, now, Deadline(CALL_SECONDS))
        self._hold.renewed(renewed)
        self._goes_on(renewed)

    def _begin_again(self, now: datetime) -> None:
        stored, slot = self._desk.begin_again(now)
        if not self._hold.replaced(stored, slot):
            # Released meanwhile: the new session goes back as well.
            self._desk.drop(stored, slot)
            return
        self._is_known_over = False
        self._goes_on(stored)

    def _goes_on(self, stored: StoredLease) -> None:
        if self.ended is not None:
            self.ended = None
            self._tell(self._on_resumed, stored.lease)

    def _is_gone(self, error: ProblemError, now: datetime) -> float:
        if self._stop.is_set() or not self._hold.is_held:  # we gave it back ourselves, a moment ago
            return self._tick
        kept: StoredLease = self._hold.stored
        self._desk.gone(kept, error)
        if error.may_begin_again:
            if self.ended is None:
                self._end(_told(error, now, is_final=False))
            self._is_known_over = True
            self._due = now
            return _SHORTEST_PAUSE
        self._hold.ended()
        self._end(_told(error, now, is_final=True))
        return self._tick

    def _failed(self, error: KeyseatError, now: datetime) -> float:
        self._failures += 1
        self.last_failure = error
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures - 1, 8), _LONGEST_PAUSE)
        left = (self._hold.lease.expires_at - now).total_seconds()
        if left > 0:  # several tries fit into what is left of a lease, however short it is
            pause = min(pause, left / 4)
        pause = max(jittered(pause), _SHORTEST_PAUSE)
        self._due = now + timedelta(seconds=pause)
        return pause

    def _end(self, end: SessionEnd) -> None:
        was_told = self.ended is not None
        self.ended = end
        if not was_told or end.is_final:
            self._tell(self._on_ended, end)

    def _tell(self, callback: Callable[..., object] | None, value: object) -> None:
        if callback is not None and not self._stop.is_set():
            # A callback that is slow or fails must not hold up the renewal.
            threading.Thread(target=callback, args=(value,), name="keyseat-callback", daemon=True).start()


def _due(lease: VerifiedLease) -> datetime:
    """Return when to renew: after ``renew_after``, spread so that machines started together do not ask together."""
    spread = (lease.expires_at - lease.renew_after) * (_SPREAD * random.random())  # noqa: S311 - spreads load
    return lease.renew_after + spread


def _ran_out(lease: VerifiedLease, failure: KeyseatError | None, now: datetime) -> SessionEnd:
    why = f" ({failure.code}: {failure.message})" if failure is not None else ""
    return SessionEnd(
        ReasonCode.LEASE_ENDED,
        "EXPIRED",
        f"the lease ended at {format_instant(lease.expires_at)} and could not be renewed{why}",
        "The session goes on by itself when the server answers again.",
        now,
        is_final=False,
    )


def _told(error: ProblemError, now: datetime, *, is_final: bool) -> SessionEnd:
    return SessionEnd(error.code, error.reason or str(error.code), error.message, error.next_step, now, is_final)
