"""Servers on loopback for tests of the client's transport: scripted answers, real TLS with an authority, a proxy."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ASKED = {
    "device_code": "d" * 32,
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://licenses.example/device",
    "verification_uri_complete": "https://licenses.example/device?user_code=BCDF-GHJK",
    "expires_in": 900,
    "interval": 1,
}
"""What a server answers to a program that asks for a sign-in code (RFC 8628, section 3.2)."""

Handler = Callable[[socket.socket], object]
_PATIENCE = 60.0
"""Seconds after which a connection of a test is given up, on a busy machine."""


class Listener:
    """A port on loopback; every connection gets a thread that runs ``handler``, behind TLS where there is a context."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        """Listen from here on; ``accepting`` answers."""
        self._handler = handler
        self._tls = tls
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self.connections = 0
        self.over = threading.Event()

    @contextlib.contextmanager
    def accepting(self) -> Iterator["Listener"]:
        """Accept connections in threads until the end of the block."""
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                connection, _ = self._sock.accept()
                if self.over.is_set():
                    connection.close()
                    return
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,))
                thread.start()
                threads.append(thread)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield self
        finally:
            self.over.set()
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the acceptor
            for thread in (acceptor, *threads):
                thread.join(_PATIENCE)
            self._sock.close()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(_PATIENCE)
        connection = raw
        # A client that hangs up, or that does not trust the certificate, is what several tests are about.
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(raw, server_side=True)
            self._handler(connection)
        connection.close()
        raw.close()


def head(connection: socket.socket) -> str:
    """Read a request up to the blank line after its headers."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(1)
        if not more:
            raise ConnectionError
        data += more
    return data.decode("latin-1")


def request(connection: socket.socket) -> tuple[str, bytes]:
    """Read a request with its body, whose length its headers tell."""
    found = head(connection)
    length = next((line for line in found.lower().split("\r\n") if line.startswith("content-length:")), ":0")
    body = b""
    while len(body) < int(length.partition(":")[2]):
        body += connection.recv(65536)
    return found, body


class Script:
    """A server that gives these answers one after the other, the last one again and again; it keeps the requests."""

    def __init__(self, *answers: bytes) -> None:
        """Take the answers."""
        self._answers = list(answers)
        self.requests: list[tuple[str, bytes]] = []

    def __call__(self, connection: socket.socket) -> None:
        """Answer one request."""
        self.requests.append(request(connection))
        connection.sendall(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """Return the bytes of an answer whose connection is closed after it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def saying(data: bytes) -> Handler:
    """Return a handler that reads a request and then sends ``data``."""

    def handle(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(data)

    return handle


class Authority:
    """A certificate authority of a test; ``pem`` is the file that clients are told to trust."""

    def __init__(self, folder: Path) -> None:
        """Make its key and certificate."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        self._certificate = (
            self._begin(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = folder / "authority.pem"
        self.pem.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *names: str) -> ssl.SSLContext:
        """Return a server's context, with a certificate for host names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Server of a test")])
        certificate = (
            self._begin(subject, key)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain = self._folder / f"{'_'.join(names)}.pem"
        chain.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _begin(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class ConnectProxy:
    """A proxy that tunnels every CONNECT to one port of this machine, whatever host it is asked for."""

    def __init__(self, port: int, refusal: str = "") -> None:
        """Take the port; ``refusal`` is a status line sent instead of a tunnel."""
        self._port = port
        self._refusal = refusal
        self.requests: list[str] = []
        self._listener = Listener(self._handle)
        self.address = f"127.0.0.1:{self._listener.port}"

    @contextlib.contextmanager
    def accepting(self) -> Iterator["ConnectProxy"]:
        """Accept connections until the end of the block."""
        with self._listener.accepting():
            yield self

    def _handle(self, connection: socket.socket) -> None:
        self.requests.append(head(connection))
        if self._refusal:
            connection.sendall(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
            return
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(connection, server)


def pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways between two connections until one ends."""
    ends = {one: other, other: one}
    while True:
        # What TLS has decrypted already is not seen by `select`.
        ready = [end for end in ends if isinstance(end, ssl.SSLSocket) and end.pending()]
        for end in ready or select.select(list(ends), [], [], _PATIENCE)[0]:
            data = end.recv(16 * 1024)
            if not data:
                return
            ends[end].sendall(data)
