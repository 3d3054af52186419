"""Several processes on one socket: a parent that starts them, passes signals on, and leaves none behind."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from keyseat_issuer.api.logs import LOGGER

_log = logging.getLogger(LOGGER)
_DEATHS = 3
"""How often each worker may die within ``_WINDOW`` before the whole ends: starting again does not help then."""
_WINDOW = 60.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE = 20.0
"""Seconds that a worker has to answer what is under way when its parent is gone."""


class Supervisor:
    """The parent of several workers. It has no threads and no database connection, so that forking is safe."""

    def __init__(self, work: Callable[[], int], workers: int, sock: socket.socket) -> None:
        """Take what each worker does, which returns its exit code, how many there are, and the socket they share."""
        self._work = work
        self._sock = sock
        self._workers = workers
        self._children: set[int] = set()
        self._deaths: deque[float] = deque(maxlen=_DEATHS * workers)
        self._stopping = 0

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return an exit code: 1 where workers keep dying."""
        # Only this process holds the writing end: it closes when this process is gone, however it went.
        self._alive, self._held = os.pipe()
        for number in _SIGNALS:
            signal.signal(number, lambda received, _: self._stop(received))
        for _ in range(self._workers):
            self._start()
        code = 0
        while self._children:
            pid, status = os.wait()
            self._children.discard(pid)
            if self._stopping:
                continue
            ended = os.waitstatus_to_exitcode(status)
            _log.error("a worker ended", extra={"pid": pid, "exit_code": ended})
            if self._die_too_often():
                _log.error("workers keep ending: the service stops")
                code = 1
                self._stop(signal.SIGTERM)
            else:
                self._start()
        return code

    def _die_too_often(self) -> bool:
        now = time.monotonic()
        self._deaths.append(now)
        return len(self._deaths) == self._deaths.maxlen and now - self._deaths[0] < _WINDOW

    def _start(self) -> None:
        # A signal between the fork and the child's own handlers would be the child's to pass on, and be lost on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if not self._stopping:  # later there is no socket left to work on
            pid = os.fork()
            if not pid:
                self._be_worker()
            self._children.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _be_worker(self) -> NoReturn:
        code = 1
        try:
            stop_at_signals()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._held)
            # Out of the terminal's group: Ctrl-C reaches the parent, which passes it on once.
            os.setpgid(0, 0)
            end_with(self._alive)
            code = self._work()
        except SystemExit as end:  # asked to stop before it served
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self, number: int) -> None:
        self._stopping = number
        # The port is closed when the last copy of its socket is: ours must not outlive the workers' listening.
        self._sock.close()
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def stop_at_signals() -> None:
    """Let SIGTERM and SIGINT end this process with 0: a requested stop is not a failure.

    While uvicorn runs it has handlers of its own, and raises the signal once more when it has stopped.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))


def end_with(parent: int) -> None:
    """End this process when the parent is gone, which closes the pipe ``parent``: first as asked to, then by force."""

    def watch() -> None:
        os.read(parent, 1)
        # The port must be free for the next start of the service. The second signal ends the draining.
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.25)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
