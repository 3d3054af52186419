"""HTTPS to one server on the standard library alone: bounded in time and size, through proxies, with a custom CA.

Redirects are not followed: an API has none, and a captive portal is no licence server.
"""

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from keyseat_shared import __version__
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import CouldNotVerifyError, KeyseatError
from keyseat_shared.files import require_file
from keyseat_verifier.online.config import is_loopback, is_one_word

MAX_ANSWER = 256 * 1024
"""Largest answer read, in bytes; a trust bundle has at most 64 KiB."""
PORTS = {"https": 443, "http": 80}
_CHUNK = 16 * 1024
_PROXY_AUTHENTICATION = 407


class Answer(NamedTuple):
    """Status, headers by lower-case name, and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class UnreachableError(KeyseatError):
    """The server could not be asked (``SERVER_UNREACHABLE``); ``is_lasting`` where trying again soon cannot help."""

    def __init__(self, message: str, *, next_step: str | None = None, is_lasting: bool = False) -> None:
        super().__init__(ReasonCode.SERVER_UNREACHABLE, message, next_step=next_step)
        self.is_lasting = is_lasting


class Deadline:
    """An end on the steady clock. The caller goes on after it, also where the server does not answer."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left; negative when it is over."""
        return self._end - time.monotonic()

    def require(self) -> float:
        """Return the seconds left.

        Raises:
            TimeoutError: when there are none.
        """
        left = self.left
        if left <= 0:
            msg = "timed out"
            raise TimeoutError(msg)
        return left


class Transport:
    """Sends requests to the server at ``url``, each on a connection of its own. Thread-safe."""

    def __init__(self, url: str, ca_bundle: str | None = None) -> None:
        """Keep the address; ``ca_bundle`` names a PEM file of authorities accepted beside the system's."""
        self.url = url
        self._parts = urlsplit(url)
        self._ca_bundle = ca_bundle
        self._context: ssl.SSLContext | None = None

    def request(
        self, method: str, path: str, deadline: Deadline, *, body: bytes | None = None, headers: Mapping[str, str]
    ) -> Answer:
        """Send one request and read its answer.

        Raises:
            UnreachableError: ``SERVER_UNREACHABLE`` that says where it failed and what to look at.
        """
        connection = self._connection(deadline)
        sent = {"User-Agent": f"keyseat/{__version__}", "Accept": "application/json", "Connection": "close", **headers}
        try:
            connection.request(method, self._parts.path + path, body, sent)
            with connection.getresponse() as response:
                found = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, found, _read(response))
        except ssl.SSLCertVerificationError as error:
            raise UnreachableError(
                f"the certificate of {self.url} is not trusted: {error.verify_message}",
                next_step="If your organisation has an authority of its own, name its PEM file in KEYSEAT_CA_BUNDLE.",
                is_lasting=True,
            ) from None
        except TimeoutError:
            raise UnreachableError(f"{self.url} did not answer in time") from None
        except socket.gaierror:
            raise UnreachableError(f"the name of {self.url} cannot be resolved{self._via()}") from None
        except _TunnelRefusedError as error:
            raise UnreachableError(
                f"{self.url} cannot be reached{self._via()}: {_printable(str(error))}",
                next_step="Put the proxy's user and password into HTTPS_PROXY: http://user:password@host:port.",
                is_lasting=True,
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(f"{self.url} cannot be reached{self._via()}: {_printable(reason)}") from None
        finally:
            connection.close()

    def _connection(self, deadline: Deadline) -> "http.client.HTTPConnection":
        host, scheme = self._parts.hostname or "", self._parts.scheme
        port = self._parts.port or PORTS[scheme]
        if scheme == "http":
            return _Plain(host, port, deadline)
        proxy = self._proxy()
        if proxy is None:
            return _Secure(host, port, deadline, self._tls())
        through = _Secure(proxy.hostname or "", proxy.port or PORTS["http"], deadline, self._tls())
        through.set_tunnel(host, port, _proxy_authorization(proxy))
        return through

    def _proxy(self) -> SplitResult | None:
        """Return the proxy for the server: from ``HTTPS_PROXY`` and ``NO_PROXY``, or the system's settings."""
        host = self._parts.hostname or ""
        found = getproxies()
        address = found.get("https") or found.get("all")
        if not address or is_loopback(host) or proxy_bypass(f"{host}:{self._parts.port or PORTS['https']}"):
            return None
        try:
            parts = urlsplit(address if "://" in address else f"http://{address}")
            usable = parts.scheme == "http" and is_one_word(parts.hostname or "") and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UnreachableError(
                "the proxy that is set for https is not an address of the form http://host:port",
                next_step="Correct HTTPS_PROXY, or name the server in NO_PROXY.",
                is_lasting=True,
            )
        return parts

    def _via(self) -> str:
        if self._parts.scheme == "http":
            return ""
        proxy = self._proxy()
        return "" if proxy is None else f" through the proxy {proxy.hostname}"

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context()
            if self._ca_bundle is not None:
                _load_authorities(context, self._ca_bundle)
            self._context = context
        return self._context


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        require_file(path)  # OpenSSL would wait for a pipe, whatever the deadline
        context.load_verify_locations(path)
    except CouldNotVerifyError as error:
        what = str(error.details["reason"])
    except ssl.SSLError:
        what = "it holds no PEM certificate"
    except OSError as error:
        what = (error.strerror or "unknown reason").lower()
    else:
        return
    raise UnreachableError(
        f"the CA bundle {path!a} cannot be used: {what}",
        next_step="Name a file of PEM certificates in KEYSEAT_CA_BUNDLE, or unset it.",
        is_lasting=True,
    )


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    from base64 import b64encode
    from urllib.parse import unquote

    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _printable(reason: str) -> str:
    """Return a reason fit for people: its text may come from an unknown server."""
    return "".join([char if char.isprintable() else " " for char in reason[:200]]).strip().lower()


def _read(response: http.client.HTTPResponse) -> bytes:
    body = b""
    while more := response.read(_CHUNK):
        body += more
        if len(body) > MAX_ANSWER:
            msg = "the answer is too large"
            raise http.client.HTTPException(msg)
    if response.length:  # reading piece by piece, `http.client` takes half an answer for a whole one
        msg = "the answer was cut off"
        raise http.client.HTTPException(msg)
    return body


class _Plain(http.client.HTTPConnection):
    """A connection on which no single read, write or look-up outlasts the deadline, nor all of them together."""

    def __init__(self, host: str, port: int, deadline: Deadline) -> None:
        super().__init__(host, port)
        self.deadline = deadline

    def connect(self) -> None:
        self.sock = _Timed(_open(self.host, self.port, self.deadline), self.deadline)  # stands in for a socket


class _Secure(http.client.HTTPSConnection):
    """The same with TLS, through a proxy's tunnel where one is set."""

    def __init__(self, host: str, port: int, deadline: Deadline, context: ssl.SSLContext) -> None:
        super().__init__(host, port, context=context)
        self.deadline = deadline
        self._tls = context

    def connect(self) -> None:
        raw = _open(self.host, self.port, self.deadline)
        name = self.host
        tunnel: str | None = getattr(self, "_tunnel_host", None)
        try:
            if tunnel:
                name = tunnel
                self.sock = lent = _Timed(raw, self.deadline)  # stands in for a socket
                try:
                    self._open_tunnel()
                finally:
                    lent.close_readers()  # older Pythons leave the proxy's answer open
            raw.settimeout(self.deadline.require())
            secure = self._tls.wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise
        self.sock = _Timed(secure, self.deadline)

    def _open_tunnel(self) -> None:
        try:
            self._tunnel()  # type: ignore[attr-defined] # what `HTTPConnection.connect` itself calls
        except OSError as error:
            # The status is told in the message alone.
            if f" {_PROXY_AUTHENTICATION} " in f"{error} ":
                raise _TunnelRefusedError(str(error)) from None
            raise


class _TunnelRefusedError(Exception):
    """The proxy wants credentials that it was not given."""


class _Timed:
    """The part of a socket that `http.client` uses, each call with the time that is left."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._readers: list[io.BufferedReader] = []

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.require())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        reader: io.BufferedReader = io.BufferedReader(_Reader(self._sock, self._deadline))
        self._readers.append(reader)
        return reader

    def close(self) -> None:
        self._sock.close()  # its readers stay open: `http.client` reads on after it has let go of the socket

    def close_readers(self) -> None:
        for reader in self._readers:
            reader.close()


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open when `http.client` lets go of it
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int | None:  # type: ignore[override] # of the two types in use
        # A server that sends a byte a second must not hold the caller for ever.
        self._sock.settimeout(self._deadline.require())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _open(host: str, port: int, deadline: Deadline) -> socket.socket:
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(host, port, deadline):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.require())
            sock.connect(address)
        except OSError as error:
            failure = error
            sock.close()
        else:
            return sock
    raise failure or TimeoutError


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int, ...]]


def _resolve(host: str, port: int, deadline: Deadline) -> list[_Address]:
    """Look a name up. The system's resolver knows no deadline, so it runs in a thread that may be left behind."""
    found: list[list[_Address]] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # type: ignore[arg-type] # typeshed: wider addresses
        except OSError as error:
            failed.append(error)
        except UnicodeError:  # no host name at all: a label is empty, or longer than 63 characters
            failed.append(socket.gaierror(socket.EAI_NONAME, "no host name"))

    _run_bounded(look_up, deadline)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


def _run_bounded(work: Callable[[], None], deadline: Deadline) -> None:
    thread = threading.Thread(target=work, name="keyseat-lookup", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down: a release at exit still wants to be sent
        work()
        return
    thread.join(max(0.0, deadline.left))
