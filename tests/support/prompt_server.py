"""Our HTTP server, which stops at once when a test has done with it.

uvicorn looks ten times a second whether it shall stop, and waits a tenth of a second more: with hundreds of servers,
minutes. How the server of the product stops is tested where it stops as a process (tests/cli/test_serve_stopping.py).
"""

import asyncio
import contextlib
import socket
import threading

from keyseat_issuer.api.calls import App
from keyseat_issuer.server.limits import Limits
from keyseat_issuer.server.server import Server

_GRACE = 30.0
"""Seconds for calls that are under way, on a busy machine."""


class PromptServer(Server):
    """A server in a thread of the test."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        """Prepare; ``run`` serves."""
        super().__init__(app, limits)
        self._runs = threading.Event()

    def stop(self) -> None:
        """Stop, from another thread."""
        self.should_exit = True
        if self._runs.wait(_GRACE):
            with contextlib.suppress(RuntimeError):  # it has stopped by itself
                self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Tick as uvicorn does, until told."""
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        self._runs.set()
        ticking = asyncio.ensure_future(super().main_loop())
        told = asyncio.ensure_future(self._told.wait())
        await asyncio.wait({ticking, told}, return_when=asyncio.FIRST_COMPLETED)
        ticking.cancel()
        told.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let calls that are under way end, and the application after them."""
        for each in [*self.servers, *(sockets or [])]:
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.wait_for(self._wait_tasks_to_complete(), _GRACE)
        await self.lifespan.shutdown()
