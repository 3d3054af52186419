"""The online decision for one product: a lease kept from before, or the server; and what each refusal means.

`LicenseClient` comes here when no offline file entitles. Every call is bounded in time.
"""

import os
import threading
import time
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import ONLINE
from keyseat_verifier._internal.paths import SERVER, shown
from keyseat_verifier.client.entitlement import PassedOver
from keyseat_verifier.client.slots import SlotLock
from keyseat_verifier.online.api import ProblemError, jittered
from keyseat_verifier.online.earlier import give_back
from keyseat_verifier.online.grants import ACQUIRE_SECONDS, RENEW_SECONDS, Grants
from keyseat_verifier.online.hold import Hold
from keyseat_verifier.online.leases import StoredLease, remove
from keyseat_verifier.online.transport import Deadline
from keyseat_verifier.verify.verified import VerifiedLease

_RENEW_AGAIN = 30.0
"""Seconds after which ``check`` asks a server again that did not renew a lease."""


class Found(NamedTuple):
    """A lease that entitles: ``source`` is ``online`` where the server was asked just now, else ``lease``."""

    stored: StoredLease
    source: str
    warnings: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def lease(self) -> VerifiedLease:
        """The lease."""
        return self.stored.lease


class OnlineRefusedError(KeyseatError):
    """Nothing online entitles. ``reasons`` are those of kept leases and of the server.

    ``is_asked`` is false where there is no server to ask: then the offline reasons tell more.
    """

    def __init__(self, error: KeyseatError, reasons: list[PassedOver], *, is_asked: bool = True) -> None:
        """Take code, message and next step of what stopped us."""
        super().__init__(error.code, error.message, details=error.details, next_step=error.next_step)
        self.reasons = tuple(reasons)
        self.is_asked = is_asked


class Released(NamedTuple):
    """What a release did: sessions ended, and those left alone.

    ``held``: by running programs, each with its process (0: not known). ``foreign``: begun with other credentials than
    those of now, each with the end of its lease.
    """

    ended: tuple[str, ...]
    held: tuple[tuple[str, int], ...]
    previous: int
    foreign: tuple[tuple[str, datetime], ...] = ()


class OnlineDesk:
    """Leases and server for one product on this machine. Thread-safe and fork-safe; calls no server until asked."""

    def __init__(self, grants: Grants, home: str) -> None:
        """Take what gets leases, and the home folder."""
        self.grants = grants
        self.store = grants.store
        self._home = home
        self._hold: Hold | None = None
        self._last: StoredLease | None = None
        self._over: KeyseatError | None = None
        self._renew_from = 0.0
        self._trouble = ""
        self._owner = os.getpid()
        self._own_lock = threading.RLock()

    def look(self, now: datetime) -> tuple[list[StoredLease], list[PassedOver]]:
        """Return the leases that count at ``now`` and why others do not. Asks no server.

        Raises:
            KeyseatError: nothing identifies this machine or account.
        """
        found, passed = self.store.find(self.grants.load_verifier(), self.grants.machine(), now)
        unkept = self.grants.unkept
        if unkept is not None and now < unkept.lease.expires_at:
            found.append(unkept)
        return found, passed

    def entitle(self, now: datetime) -> Found:
        """Return the lease that entitles at ``now``: one kept from before, else one that the server gives.

        Raises:
            OnlineRefusedError: with the reasons of kept leases and of the server.
        """
        with self._lock():
            stored, passed = self._look(now)
            self._drop_lost_hold(stored)
            if stored:
                self._over = None
                return self._used(self._use(self._chosen(stored), passed, now))
            back = self._ask_about_last(now)
            if back is not None:
                return self._used(Found(back, "online", (), tuple(passed)))
            if self._over is not None:
                raise self._refused(self._over, passed)
            return self._used(self._acquire(passed, now))

    def activate(self, now: datetime, *, release_previous: bool = False) -> Found:
        """Get a lease that stays on this machine until it is released or ends; one that is there is renewed.

        Raises:
            OnlineRefusedError: as ``entitle``.
        """
        with self._lock():
            self._over = None
            self._renew_from = 0.0
            stored, passed = self._look(now)
            for kept in stored:
                if kept.is_activated and not release_previous and not self._is_of_another(kept):
                    try:
                        return Found(
                            self.grants.renew(kept, now, Deadline(ACQUIRE_SECONDS)), "online", (), tuple(passed)
                        )
                    except ProblemError as error:
                        # One that is not known to who asks now stays: `release` gives it back with its credentials.
                        if error.is_gone:
                            remove(kept.path)
                        elif not error.is_unknown:
                            raise self._refused(error, passed) from None
                    except KeyseatError as error:
                        return Found(kept, "lease", (not_renewed(error, kept.lease),), tuple(passed))
            return self._acquire(passed, now, activated=True, release_previous=release_previous)

    def open(self, now: datetime, *, release_previous: bool = False) -> Hold:
        """Take a session for this process: the one ``entitle`` has begun, one left behind, or a new one.

        Raises:
            OnlineRefusedError: as ``entitle``; ``SESSIONS_EXCEEDED`` where a user's one session is in use.
        """
        with self._lock():
            self._over = None
            mine, self._hold = self._hold, None
            if mine is not None and mine.is_held and now < mine.lease.expires_at:
                return mine
            stored, passed = self._look(now)
            for kept in stored:
                hold = self._take_over(kept, passed, now)
                if hold is not None:
                    return hold
            if stored and self.grants.is_named:
                busy = [self.store.holder(kept.lease.session_id) for kept in stored]
                if any(pid is not None for pid in busy):
                    raise self._refused(_in_use(self.grants.product, [pid for pid in busy if pid]), passed)
            begun = self._begin(passed, now, activated=False, release_previous=release_previous)
            return self._held(begun, self._try_take(begun))

    def begin_again(self, now: datetime) -> tuple[StoredLease, SlotLock | None]:
        """Begin a session in place of one that ran out; return its lease and lock.

        Raises:
            KeyseatError: the server refuses, or cannot be reached.
        """
        with self._lock():
            stored = self.grants.acquire(now, activated=self.grants.is_named, release_previous=False)
            return stored, self._try_take(stored)

    def drop(self, stored: StoredLease, slot: SlotLock | None) -> None:
        """Give back a session that no program needs any more."""
        self._held(stored, slot).release()

    def gone(self, kept: StoredLease, error: ProblemError) -> None:
        """The server has ended the session: forget its lease, and remember why where asking again will not do."""
        remove(kept.path)
        if self.grants.unkept is not None and self.grants.unkept.lease.session_id == kept.lease.session_id:
            self.grants.unkept = None
        if not error.may_begin_again:
            self._over = error

    def release(self, now: datetime, *, previous: bool = False) -> Released:
        """Give back the sessions kept here that no running program holds; with ``previous`` all of this machine's.

        Raises:
            KeyseatError: the server cannot be asked; what was not given back is kept.
        """
        with self._lock():
            stored = self.look(now)[0] + self.grants.earlier(now)
            self._over = None
            ended, held, foreign = [], [], []
            api = self.grants.require_server()[0] if stored or previous else None
            count = 0
            if previous and api is not None:
                count = api.release_previous(self.grants.machine_text(), Deadline(ACQUIRE_SECONDS))
            for kept in stored:
                session_id = kept.lease.session_id
                pid = self.store.holder(session_id)
                if pid is not None and not previous:
                    held.append((session_id, pid))
                elif api is not None:
                    if not give_back(api, session_id, Deadline(ACQUIRE_SECONDS)):
                        foreign.append((session_id, kept.lease.expires_at))
                        continue
                    if pid is None:
                        self.store.forget_slot(session_id)
                    remove(kept.path)
                    ended.append(session_id)
            if self.grants.unkept is not None and self.grants.unkept.lease.session_id in ended:
                self.grants.unkept = None
            return Released(tuple(ended), tuple(held), count, tuple(foreign))

    # Inside ----------------------------------------------------------------------------------------------------------

    def _lock(self) -> threading.RLock:
        if os.getpid() != self._owner:  # a forked child: another thread of the parent may have held the lock
            self._owner = os.getpid()
            self._own_lock = threading.RLock()
            self._hold = None
        return self._own_lock

    def _used(self, found: Found) -> Found:
        self._last = found.stored
        return found

    def _ask_about_last(self, now: datetime) -> StoredLease | None:
        """Ask what became of a user's session whose lease ran out while this machine slept, or was removed.

        Another machine may have taken it over since, and must not lose it because this one woke up.
        """
        last, self._last = self._last, None
        if last is None or not self.grants.is_named:
            return None
        try:
            return self.grants.renew(last, now, Deadline(RENEW_SECONDS))
        except ProblemError as error:
            if error.is_gone and not error.may_begin_again:
                self._over = error
        except KeyseatError:
            pass  # then there is nothing to begin anew with either
        return None

    def _chosen(self, stored: list[StoredLease]) -> StoredLease:
        mine = self._hold.lease.session_id if self._hold is not None and self._hold.is_held else ""
        return next((kept for kept in stored if kept.lease.session_id == mine), stored[0])

    def _use(self, kept: StoredLease, passed: list[PassedOver], now: datetime) -> Found:
        """Use a kept lease, renewed where it is time and the server answers soon."""
        found = Found(kept, "lease", (), tuple(passed))
        if now < kept.lease.renew_after or not self._is_ours_to_renew(kept):
            return found
        if time.monotonic() < self._renew_from:
            return found._replace(warnings=(self._trouble,))
        try:
            renewed = self.grants.renew(kept, now, Deadline(RENEW_SECONDS))
        except ProblemError as error:
            if error.is_gone:
                return self._after_the_end(kept, error, passed, now)
            return self._still(found, error)
        except KeyseatError as error:
            return self._still(found, error)
        self._renew_from = 0.0
        if self._hold is not None and self._hold.lease.session_id == renewed.lease.session_id:
            self._hold.renewed(renewed)
        return found._replace(stored=renewed, source="online")

    def _is_ours_to_renew(self, kept: StoredLease) -> bool:
        """Tell whether a kept lease is this process's to renew; one that a killed program left behind becomes so."""
        try:
            if self.grants.server() is None:
                return False
        except KeyseatError:
            return False
        if kept.is_activated or kept == self.grants.unkept:
            return True
        if self._hold is not None and self._hold.lease.session_id == kept.lease.session_id:
            return True
        slot = self._try_take(kept)
        if slot is None:
            return False
        self._hold = self._guarded(kept, slot)
        return True

    def _after_the_end(self, kept: StoredLease, error: ProblemError, passed: list[PassedOver], now: datetime) -> Found:
        self.gone(kept, error)
        if self._hold is not None and self._hold.lease.session_id == kept.lease.session_id:
            self._hold.ended()
            self._hold = None
        reason = PassedOver(shown(kept.path), error.code, error.message, error.next_step)
        if self._over is not None:
            raise self._refused(self._over, [*passed, reason])
        return self._acquire([*passed, reason], now)

    def _still(self, found: Found, error: KeyseatError) -> Found:
        """The lease could not be renewed: it counts until it ends, and the server is asked again in a while."""
        self._renew_from = time.monotonic() + jittered(_RENEW_AGAIN)
        self._trouble = not_renewed(error, found.lease)
        return found._replace(warnings=(self._trouble,))

    def _take_over(self, kept: StoredLease, passed: list[PassedOver], now: datetime) -> Hold | None:
        """Hold a session whose lease lies here and which nobody holds, if the server still knows it."""
        slot = self._try_take(kept)
        if slot is None and kept.path:
            return None
        hold = self._held(kept, slot)
        try:
            hold.renewed(self.grants.renew(kept, now, Deadline(RENEW_SECONDS)))
        except ProblemError as error:
            if error.is_gone:
                passed.append(PassedOver(shown(kept.path), error.code, error.message, error.next_step))
                self.gone(kept, error)
                self._over = None  # a program that opens a session asks for a new one
                hold.ended()
                return None
        except KeyseatError:
            pass  # with the server down the lease counts as it is
        return hold

    def _acquire(self, passed: list[PassedOver], now: datetime, *, activated: bool = False, **more: bool) -> Found:
        stored = self._begin(passed, now, activated=activated, **more)
        if not stored.is_activated:
            self._hold = self._guarded(stored, self._try_take(stored))
        self.grants.ask_trust_once()
        return Found(stored, "online", (), tuple(passed))

    def _begin(
        self, passed: list[PassedOver], now: datetime, *, activated: bool, release_previous: bool = False
    ) -> StoredLease:
        """Begin a session on the server; a user's seat stays with the user, so its lease is kept as activated."""
        stays = activated or self.grants.is_named
        try:
            return self.grants.acquire(now, activated=stays, release_previous=release_previous)
        except KeyseatError as error:
            raise self._refused(error, passed) from None

    def _held(self, stored: StoredLease, slot: SlotLock | None) -> Hold:
        return Hold(self.grants.api_or_none(), self.store, stored, slot, keeps=stored.is_activated)

    def _guarded(self, stored: StoredLease, slot: SlotLock | None) -> Hold:
        hold = self._held(stored, slot)
        hold.guard(on_sigterm=False)
        return hold

    def _look(self, now: datetime) -> tuple[list[StoredLease], list[PassedOver]]:
        try:
            stored, passed = self.look(now)
            # A lease that a newer bundle would let count again is worth asking for that, not for another seat.
            if any(reason.code is ReasonCode.TRUST_STALE for reason in passed) and self.grants.freshen(ONLINE, now):
                stored, passed = self.look(now)
        except KeyseatError as error:
            raise self._refused(error, []) from None
        return stored, passed

    def _drop_lost_hold(self, stored: list[StoredLease]) -> None:
        """Let go of a session of ours that ran out, or whose lease somebody has released."""
        if self._hold is not None and self._hold.lease.session_id not in {kept.lease.session_id for kept in stored}:
            self._hold.ended()
            self._hold = None

    def _is_of_another(self, kept: StoredLease) -> bool:
        """Tell whether a kept lease is of another organisation than the one that is asked for by its id."""
        try:
            found = self.grants.server()
        except KeyseatError:
            return False
        wanted = None if found is None else found[1].organization
        return wanted is not None and wanted != kept.lease.organization_id

    def _try_take(self, kept: StoredLease) -> SlotLock | None:
        try:
            return self.store.take(kept.lease.session_id)
        except KeyseatError:
            return None  # the server counts online sessions; the lock only tells other processes

    def _refused(self, error: KeyseatError, passed: list[PassedOver]) -> OnlineRefusedError:
        try:
            found = self.grants.server()
        except KeyseatError:
            place, is_asked = shown(os.path.join(self._home, SERVER)), True
        else:
            place, is_asked = ("", False) if found is None else (found[1].url, True)
        reasons = [*passed]
        if is_asked:
            reasons.append(PassedOver(place, error.code, error.message, error.next_step))
        return OnlineRefusedError(error, reasons, is_asked=is_asked)


def not_renewed(error: KeyseatError, lease: VerifiedLease) -> str:
    """Return the warning that a lease could not be renewed."""
    return (
        f"The lease could not be renewed ({error.code}: {error.message});"
        f" it counts until {format_instant(lease.expires_at)}."
    )


def _in_use(product: str, pids: list[int]) -> KeyseatError:
    named = ", ".join([str(pid) for pid in sorted(set(pids))])
    return KeyseatError(
        ReasonCode.SESSIONS_EXCEEDED,
        f"the one {product} session of this user on this machine is in use"
        + (f", by process {named}" if named else ""),
        next_step="End the other program first.",
    )
