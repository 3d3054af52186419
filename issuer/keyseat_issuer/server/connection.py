"""One HTTP connection: uvicorn's protocol with limits on size, time, rate and number, and joined writes."""

import asyncio
import fcntl
import math
import os
import socket
import struct
import sys
import termios
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from keyseat_issuer.api.calls import PROBLEM_TYPE
from keyseat_issuer.api.problems import RETRY_AFTER, ApiError, problem_body
from keyseat_issuer.server.limits import Cut, Door, address_of
from keyseat_shared.codes import ReasonCode

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""
_CHUNK = 256 * 1024
"""The most that the event loop reads at once."""
_FRAMING = 8
"""Bytes on the wire for each byte of a body: a chunk of one byte has six, and more is no way to send anything."""

_REFUSALS: dict[Cut, tuple[HTTPStatus, ReasonCode, str, str]] = {
    Cut.SLOW_HEAD: (
        HTTPStatus.REQUEST_TIMEOUT,
        ReasonCode.MALFORMED,
        "the head of the request did not arrive in time",
        "Try again over a faster connection.",
    ),
    Cut.SLOW_BODY: (
        HTTPStatus.REQUEST_TIMEOUT,
        ReasonCode.MALFORMED,
        "the body of the request did not arrive in time",
        "Try again over a faster connection.",
    ),
    Cut.LONG_HEAD: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        ReasonCode.INVALID_INPUT,
        "the head of the request is too long",
        "Send fewer or shorter headers; in a browser, delete the cookies of this site.",
    ),
    Cut.BAD_REQUEST: (
        HTTPStatus.BAD_REQUEST,
        ReasonCode.MALFORMED,
        "the request is not HTTP/1.1",
        "Check what stands between this client and the server.",
    ),
    Cut.FULL: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        ReasonCode.NOT_ALLOWED,
        "too many connections are open",
        f"Wait {RETRY_AFTER} seconds and try again.",
    ),
    Cut.ADDRESS_FULL: (
        HTTPStatus.TOO_MANY_REQUESTS,
        ReasonCode.NOT_ALLOWED,
        "too many connections from this address are open",
        "Close some, or wait until they end.",
    ),
}


class _Phase(Enum):
    """What a connection waits for from its client."""

    HEAD = "the rest of a head, or the first request"
    BODY = "the rest of a body"
    REST = "nothing, or the next request"
    LINGER = "the end: what still arrives is thrown away"
    OVER = "nothing more"


class _RefusedError(Exception):
    """Ends the parser's work on a request that is refused."""


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP on httptools, with a door in front.

    uvicorn itself limits neither the size of a head nor the time that a head, a body or the reading of an answer may
    take. Its timer for idle connections ends with the first byte that arrives, of whatever.
    """

    def __init__(self, door: Door, **rest: Any) -> None:  # noqa: ANN401 - uvicorn's own arguments
        """Take the door; ``rest`` is uvicorn's."""
        super().__init__(**rest)
        self._door = door
        self._limits = door.limits
        self.address = ""
        self._inside = False
        self._phase = _Phase.HEAD
        self._since = self._now = door.clock()
        self._fault = Cut.BAD_REQUEST
        self._raw = self._payload = self._mark = 0
        self._writing: tuple[float, int] | None = None
        self._patience = {
            _Phase.HEAD: (self._limits.head, Cut.SLOW_HEAD),
            _Phase.REST: (self._limits.idle, Cut.IDLE),
            _Phase.LINGER: (self._limits.lingering, Cut.IDLE),
            _Phase.OVER: (math.inf, Cut.IDLE),  # until what is written has been read, or not
        }

    # What arrives ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own does
        """Begin a connection, if there is room for one more."""
        joined = Joined(transport, self._must_linger)
        super().connection_made(cast("asyncio.Transport", joined))
        self._joined = joined
        self.address = address_of(self.client)
        why = self._door.enter(self.address)
        self._inside = why is None
        if why is not None:
            self._door.count(why)
            self._refuse(why)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        if self._inside:
            self._inside = False
            self._door.leave(self.address)
        self._phase = _Phase.OVER
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, within the limits."""
        if self._phase is _Phase.LINGER or self._phase is _Phase.OVER:
            return
        self._unset_keepalive_if_required()
        # Asked once for all that is found in these bytes.
        self._now = self._door.clock()
        if self._phase is _Phase.REST:
            self._phase, self._since = _Phase.HEAD, self._now
        self._raw += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # What follows would be of a protocol that we do not speak; the request itself is answered as it is.
            self._phase = _Phase.OVER
        except httptools.HttpParserError:
            self.end(self._fault)
        else:
            self._check_size()

    def _check_size(self) -> None:
        """Refuse what the parser keeps to itself or throws away: unfinished headers, trailers, chunk extensions."""
        if self._phase is _Phase.HEAD and self._raw > self._limits.head_bytes:
            self.end(Cut.LONG_HEAD)
        elif self._phase is _Phase.BODY:
            most = self._limits.head_bytes + _CHUNK + _FRAMING * self._payload
            if self._raw > most:
                self.end(Cut.BAD_REQUEST)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._phase is _Phase.REST:  # one behind another in the same bytes
            self._phase, self._since = _Phase.HEAD, self._now

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        limits = self._limits
        if self._raw > limits.head_bytes and _size(self.url, self.headers) > limits.head_bytes:
            self._fault = Cut.LONG_HEAD
            raise _RefusedError
        super().on_headers_complete()
        self._phase, self._since = _Phase.BODY, self._now
        self._payload = self._mark = 0
        if len(self.pipeline) > limits.pipelined:
            raise _RefusedError
        # Where the answer may come before the body, what follows it could be the body or the next request.
        if self._door.draining or self.expect_100_continue or self.parser.should_upgrade():
            self.cycle.keep_alive = False
        # The parser reports trailers as headers: a list of their own keeps them out of the request, whose
        # X-Forwarded-For a proxy has checked.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        super().on_body(body)
        self._payload += len(body)
        if self._payload > self._limits.body_bytes:
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()

    def on_message_complete(self) -> None:
        """Rest until the next request."""
        super().on_message_complete()
        self._phase, self._since, self._raw = _Phase.REST, self._now, 0

    # What the door asks ----------------------------------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        """Whether it waits between two requests."""
        return self._phase is _Phase.REST and not self._busy

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def overdue(self, now: float) -> Cut | None:
        """Return why the connection must end now, if it must."""
        if self._reads_slowly(now):
            return Cut.SLOW_READER
        if self._phase is _Phase.BODY:
            return Cut.SLOW_BODY if self._sends_slowly(now) else None
        if self._writing is not None or (self._busy and self._phase is not _Phase.LINGER):
            # An answer is under way: the next request has time until it has been read.
            self._since = now
        seconds, why = self._patience[self._phase]
        return why if now - self._since >= seconds else None

    def _sends_slowly(self, now: float) -> bool:
        if self.flow.read_paused:  # the application is slow, not the client
            self._since, self._mark = now, self._payload
        if now - self._since < self._limits.window:
            return False
        slow = self._payload - self._mark < self._limits.least
        self._since, self._mark = now, self._payload
        return slow

    def _reads_slowly(self, now: float) -> bool:
        if not self._joined.waiting:
            self._writing = None
            return False
        taken = self._joined.taken
        if self._writing is None:
            self._writing = now, taken
        since, before = self._writing
        if now - since < self._limits.window:
            return False
        self._writing = now, taken
        return taken - before < self._limits.least

    def end(self, why: Cut) -> None:
        """End the connection, with an answer where the client may still read one."""
        self._door.count(why)
        if why in {Cut.SLOW_READER, Cut.IDLE}:
            self._phase = _Phase.OVER
            if why is Cut.SLOW_READER:
                self._joined.forget()
            self._drop()
        else:
            self._refuse(why)

    # How it ends -----------------------------------------------------------------------------------------------------

    def _refuse(self, why: Cut) -> None:
        """Answer with a problem document and close; without one where an answer to something else is under way."""
        reading = self._phase is _Phase.BODY and not self.pipeline
        sends = why in {Cut.LONG_HEAD, Cut.BAD_REQUEST, Cut.SLOW_BODY}
        self._phase, self._since = _Phase.LINGER if sends else _Phase.OVER, self._door.clock()
        if reading:
            # Its application waits for the body: it hears that the client is gone.
            begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            begun = self._busy
        if begun or (why is Cut.SLOW_HEAD and not self._raw):  # a connection kept ready and never used
            self._drop()
            return
        self.transport.write(self._problem(why))
        self.transport.close()

    def _drop(self) -> None:
        if self._busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.abort()

    def _must_linger(self) -> bool:
        """Tell whether the client still sends: closing at once would reset the connection under the answer."""
        if self._phase is not _Phase.BODY:
            return self._phase is _Phase.LINGER
        self._phase, self._since = _Phase.LINGER, self._door.clock()
        return True

    def _problem(self, why: Cut) -> bytes:
        status, code, message, step = _REFUSALS[why]
        error = ApiError(code, message, status=status, details={"reason": str(why)}, next_step=step)
        body = problem_body(error, status, os.urandom(12).hex())
        headers = [
            *self.server_state.default_headers,
            PROBLEM_TYPE,
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
            headers.append((b"retry-after", b"%d" % RETRY_AFTER))
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return STATUS_LINE[status] + lines + b"\r\n" + body


class Joined:
    """A transport that joins all writes of one step of the event loop, and knows how much waits.

    uvicorn writes the head of an answer and its body one after the other. Each costs a system call and may wake the
    client, for a head that it cannot use yet: joined, a sixth more renewals a second.
    """

    __slots__ = ("_closing", "_held", "_lingers", "_loop", "_size", "_transport", "written")

    def __init__(self, transport: asyncio.Transport, lingers: Any) -> None:  # noqa: ANN401 - a callable
        """Wrap a transport; ``lingers`` is asked at the end whether the connection must stay open a little longer."""
        self._transport = transport
        self._lingers = lingers
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self._size = 0
        self._closing = False
        self.written = 0

    def __getattr__(self, name: str) -> object:
        """Everything but writing and closing is the transport's own."""
        return getattr(self._transport, name)

    @property
    def waiting(self) -> int:
        """The bytes that the system has not taken yet."""
        return self._transport.get_write_buffer_size() + self._size

    @property
    def taken(self) -> int:
        """The bytes that the client has taken.

        What the system has taken is not enough to go by: it takes a third of its buffer at once, which a slow client
        may need minutes for.
        """
        try:
            queued = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):  # closed, or a system that does not tell
            queued = bytes(4)
        return self.written - self.waiting - int.from_bytes(queued, sys.byteorder)

    def write(self, data: bytes) -> None:
        """Write soon."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        self.written += len(data)
        # An application that never waits for anything else would not let the loop run: the system must be able to say
        # that it is enough.
        if self._size >= HIGH_WATER_LIMIT:
            self._flush()

    def is_closing(self) -> bool:
        """Tell whether nothing more can be written."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Close when all is written and, where the client still sends, it has had the time to read it."""
        self._flush()
        if not self._lingers():
            self._transport.close()
        elif not self._closing:
            self._transport.write_eof()
        self._closing = True

    def abort(self) -> None:
        """Close at once."""
        self._held, self._size = [], 0
        self._transport.abort()

    def forget(self) -> None:
        """Let the system drop what it has not sent; it would keep it for minutes after the end."""
        with suppress(OSError, AttributeError):  # closed already
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)

    def _flush(self) -> None:
        if self._held:
            held, self._held, self._size = b"".join(self._held), [], 0
            self._transport.write(held)


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """Return how long a head is, with the colon, blank and line's end of each header."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
