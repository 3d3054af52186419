"""Giving sessions back when the process ends: at exit, at interpreter shutdown, on SIGTERM. A fork takes nothing along.

What ends with SIGKILL gives nothing back: the lease's file then tells the next program of this machine to go on with
the session, and without one the server frees it when the lease ends.
"""

import atexit
import os
import signal
import threading
from types import FrameType
from typing import Protocol


class Held(Protocol):
    """A session that is given back when the process ends."""

    def release_at_exit(self) -> None:
        """Give it back, soon: the process is about to end."""

    def forget(self) -> None:
        """Let go without a word to the server: this is a forked child, and the session is its parent's."""


class _Exits:
    """The sessions of this process. There is one, as there is one exit and one table of signal handlers per process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # the signal handler may interrupt its own thread
        self.held: set[Held] = set()
        self.at_signal: set[Held] = set()
        self.is_registered = False
        self.is_handling = False

    def add(self, held: Held, *, on_sigterm: bool) -> None:
        with self.lock:
            self.held.add(held)
            if not self.is_registered:
                self.is_registered = True
                atexit.register(self.release_all)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=self.forget_all)
            if on_sigterm:
                self.at_signal.add(held)
                self._handle()

    def discard(self, held: Held) -> None:
        with self.lock:
            self.held.discard(held)
            self.at_signal.discard(held)
            if not self.at_signal:
                self._stop_handling()

    def release_all(self) -> None:
        with self.lock:
            every = list(self.held)
        for held in every:
            held.release_at_exit()

    def forget_all(self) -> None:
        self.lock = threading.RLock()  # another thread may have held it at the fork
        every = list(self.held)
        self.held.clear()
        self.at_signal.clear()
        for held in every:
            held.forget()
        self._stop_handling()

    def _handle(self) -> None:
        # Only where SIGTERM would end the process on the spot. A program with a handler of its own ends by itself,
        # when it wants to, and still holds the session while it shuts down.
        if self.is_handling or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminate)
            self.is_handling = True

    def _stop_handling(self) -> None:
        if not self.is_handling or threading.current_thread() is not threading.main_thread():
            return
        self.is_handling = False
        # Not where the program has put its own handler there since.
        if signal.getsignal(signal.SIGTERM) == self._terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        self.release_all()
        # Die of the signal, as the parent process expects.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


_EXITS = _Exits()


def release_at_end(held: Held, *, on_sigterm: bool) -> None:
    """See to it that ``held`` is given back when the process ends."""
    _EXITS.add(held, on_sigterm=on_sigterm)


def is_released(held: Held) -> None:
    """``held`` has been given back: nothing is left to do for it."""
    _EXITS.discard(held)
