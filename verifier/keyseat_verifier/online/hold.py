"""One online session held by this process: its lease, the lock that tells other processes, and giving it back."""

import os
import threading

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.client.slots import SlotLock
from keyseat_verifier.online import exits
from keyseat_verifier.online.api import ServerApi
from keyseat_verifier.online.leases import LeaseStore, StoredLease, remove
from keyseat_verifier.online.transport import Deadline
from keyseat_verifier.verify.verified import VerifiedLease

RELEASE_SECONDS = 5.0
EXIT_SECONDS = 3.0


class Hold:
    """A session held. Thread-safe; a forked child holds nothing.

    Args:
        api: the server to give it back to; ``None`` where none is configured.
        store: where its lease is kept.
        stored: the lease.
        slot: the lock; ``None`` where the home folder cannot be written.
        keeps: whether the session outlives this process (a user's seat, or what ``keyseat activate`` asked for).
    """

    def __init__(
        self, api: ServerApi | None, store: LeaseStore, stored: StoredLease, slot: SlotLock | None, *, keeps: bool
    ) -> None:
        self._api = api
        self._store = store
        self._stored = stored
        self._slot = slot
        self.keeps = keeps
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._is_over = False

    @property
    def lease(self) -> VerifiedLease:
        """The newest lease."""
        return self._stored.lease

    @property
    def stored(self) -> StoredLease:
        """The newest lease and its file."""
        return self._stored

    @property
    def number(self) -> int:
        """The slot's number; an online session has one."""
        return 1

    @property
    def is_held(self) -> bool:
        """Whether this process holds the session."""
        return not self._is_over and os.getpid() == self._owner

    def guard(self, *, on_sigterm: bool) -> None:
        """Give it back when the process ends."""
        exits.release_at_end(self, on_sigterm=on_sigterm)

    def renewed(self, stored: StoredLease) -> None:
        """Take a newer lease of the same session. One that comes after ``release`` is not kept."""
        with self._lock:
            if self._is_over and not self.keeps:
                remove(stored.path)
            self._stored = stored

    def replaced(self, stored: StoredLease, slot: SlotLock | None) -> bool:
        """Take the lease of another session, begun after this one had ended; False where ``release`` came first."""
        with self._lock:
            if self._is_over:
                return False
            self._let_go()
            self._stored, self._slot = stored, slot
            return True

    def ended(self) -> None:
        """The server has ended the session: nothing is left to give back."""
        with self._lock:
            self._is_over = True
            self._let_go()
        exits.is_released(self)

    def release(self, seconds: float = RELEASE_SECONDS) -> None:
        """Give the session back, in ``seconds`` at most; a second call does nothing."""
        if os.getpid() != self._owner:  # before the lock: in a forked child no thread may be left to release it
            return
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            if self.keeps or self._api is None:
                self._unlock()
            else:
                self._give_back(self._api, seconds)
        exits.is_released(self)

    def release_at_exit(self) -> None:
        """See ``exits.Held``."""
        self.release(EXIT_SECONDS)

    def forget(self) -> None:
        """See ``exits.Held``."""
        self._lock = threading.RLock()
        self._is_over = True

    def _give_back(self, api: ServerApi, seconds: float) -> None:
        try:
            api.release(self.lease.session_id, Deadline(seconds))
        except KeyseatError:
            # The server is away: the lease stays on disk, and the next program goes on with the session.
            self._unlock()
        else:
            self._let_go()

    def _let_go(self) -> None:
        remove(self._stored.path)
        self._unlock()
        self._store.forget_slot(self.lease.session_id)

    def _unlock(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.release()
