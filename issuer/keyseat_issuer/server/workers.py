"""Several processes on one socket: a parent that starts them, passes signals on, and leaves none behind."""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from keyseat_issuer.api.logs import LOGGER

_log = logging.getLogger(LOGGER)
_DEATHS = 3
"""How often each worker may die within ``_WINDOW`` before the whole ends: starting again does not help then."""
_WINDOW = 60.0
_PATIENCE = 20.0
"""Seconds that a worker has to answer what is under way when its parent is gone."""


class Supervisor:
    """The parent of several workers. It has no threads and no database connection, so that forking is safe."""

    def __init__(self, work: Callable[[], int], workers: int) -> None:
        """Take what each worker does, which returns its exit code, and how many there are."""
        self._work = work
        self._workers = workers
        self._children: set[int] = set()
        self._deaths: deque[float] = deque(maxlen=_DEATHS * workers)
        self._stopping = 0

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return an exit code: 1 where workers keep dying."""
        # Only this process holds the writing end: it closes when this process is gone, however it went.
        self._alive, self._held = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
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
        pid = os.fork()
        if pid:
            self._children.add(pid)
            if self._stopping:  # asked to while it was forked
                self._stop(self._stopping)
            return
        code = 1
        try:
            self._children.clear()  # its siblings are not its own
            os.close(self._held)
            # Out of the terminal's group: Ctrl-C reaches the parent, which passes it on once.
            os.setpgid(0, 0)
            end_with(self._alive)
            code = self._work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self, number: int) -> None:
        self._stopping = number
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def end_with(parent: int) -> None:
    """End this process when the parent is gone, which closes the pipe ``parent``: first as asked to, then by force."""

    def watch() -> None:
        os.read(parent, 1)
        # The port must be free for whoever starts the service again. The second signal ends the draining.
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.25)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
