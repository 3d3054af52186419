"""The activation service for tests: real HTTP on loopback, in a thread of the test or in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

import service_program
import shop
from databases import Ledger
from keyseat_shared.envelope import LEASE_TYPE, Envelope
from keyseat_shared.instants import format_instant
from keyseat_shared.payloads import LeasePayload
from keyseat_shared.trust import TrustBundle
from service_program import Person, VendorTrust
from vendor import MACHINE, Vendor

if TYPE_CHECKING:
    from keyseat_issuer.api.auth import UserLookup
    from keyseat_issuer.api.licensing import Licensing
    from keyseat_issuer.api.throttle import Throttle
    from keyseat_issuer.ledger.models import Organization
    from keyseat_issuer.server.limits import Limits

NONCE = "n" * 22
_START = 60.0
"""Seconds in which a server process must answer, on a busy machine."""


class Clock:
    """A clock that tests set; the service asks it for the present instant."""

    def __init__(self, now: datetime = shop.NOW) -> None:
        """Start at ``now``."""
        self.now = now

    def __call__(self) -> datetime:
        """Return the instant."""
        return self.now

    def advance(self, **parts: int) -> datetime:
        """Let time pass: ``advance(minutes=5)``."""
        self.now += timedelta(**parts)
        return self.now


@dataclass
class Site:
    """A running service, and calls to it."""

    url: str
    clock: Clock
    vendor: Vendor
    key: str = ""
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send a request; ``key`` replaces the site's API key ("" sends none)."""
        token = self.key if key is None else key
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        return self.http.request(method, f"{self.url}{path}", content=content, headers=sent)

    def acquire(
        self, product: str = "KRE", *, machine: object = MACHINE, key: str | None = None, **more: object
    ) -> httpx.Response:
        """Ask for a session; ``idempotency`` names the request, other words join the body."""
        idempotency = more.pop("idempotency", None) or os.urandom(8).hex()
        body = {"product": product, "machine_id": str(machine), "nonce": NONCE, **more}
        return self.call("POST", "/api/v1/sessions", body, key=key, Idempotency_Key=idempotency)

    def renew(
        self, session_id: str, *, machine: object = MACHINE, key: str | None = None, nonce: str = NONCE
    ) -> httpx.Response:
        """Ask for a new lease."""
        body = {"machine_id": str(machine), "nonce": nonce}
        return self.call("POST", f"/api/v1/sessions/{session_id}/renew", body, key=key)

    def release(self, session_id: str, *, key: str | None = None) -> httpx.Response:
        """End a session."""
        return self.call("DELETE", f"/api/v1/sessions/{session_id}", key=key)


def lease_of(answer: httpx.Response, trust: TrustBundle) -> LeasePayload:
    """Return the lease in an answer, verified against the trust bundle as a client does."""
    envelope = Envelope.from_bytes(json.dumps(answer.json()["lease"]).encode())
    lease_keys = [trusted.key for trusted in trust.keys if trusted.purpose == "lease"]
    assert LEASE_TYPE == envelope.payload_type
    assert 1 == len(envelope.signers(lease_keys))
    return LeasePayload.from_bytes(envelope.payload)


def problem(answer: httpx.Response) -> tuple[int, str, object]:
    """Return status, code and ``details.reason`` of a problem document."""
    assert "application/problem+json" == answer.headers["content-type"], answer.text
    body = answer.json()
    assert answer.status_code == body["status"]
    return answer.status_code, body["code"], body["details"].get("reason")


def make_key(
    organization: "Organization", *scopes: str, expires_at: datetime | None = None, now: datetime = shop.NOW
) -> str:
    """Make an API key and return its text."""
    from keyseat_issuer.ledger.customers import api_keys  # noqa: PLC0415 - Django is set up by a fixture

    wanted = scopes or ("sessions",)
    made = api_keys.create_key(organization, wanted, name="ci", expires_at=expires_at, actor="test", now=now)
    return made.text


@contextlib.contextmanager
def serve_here(
    *,
    vendor: Vendor | None = None,
    clock: Clock | None = None,
    people: Mapping[str, Person] | None = None,
    find_user: "UserLookup | None" = None,
    throttle: "Throttle | None" = None,
    trusted_proxies: int = 0,
    licensing: "Licensing | None" = None,
    limits: "Limits | None" = None,
) -> Iterator[Site]:
    """Run the service in a thread of this process, on the ledger that Django is pointed at."""
    from keyseat_issuer.api.service import Service  # noqa: PLC0415 - as above
    from keyseat_issuer.api.throttle import Throttle  # noqa: PLC0415 - as above
    from keyseat_issuer.server.app import create_app  # noqa: PLC0415 - Django is set up by a fixture
    from keyseat_issuer.server.server import bind, url_of  # noqa: PLC0415 - as above
    from prompt_server import PromptServer  # noqa: PLC0415 - as above

    site = Site("", clock or Clock(), vendor or Vendor())
    known = dict(people or {})
    app = create_app(
        Service(
            VendorTrust(site.vendor),
            clock=site.clock,
            throttle=throttle or Throttle(calls="100000/minute", failures="100000/minute", open_calls="100000/minute"),
            find_user=find_user or (lambda token, _now: known.get(token)),
            trusted_proxies=trusted_proxies,
            licensing=licensing,
        )
    )
    sock = bind("127.0.0.1:0")
    site.url = url_of(sock)
    server = PromptServer(app, limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield site
    finally:
        site.http.close()
        server.stop()
        thread.join(30)
        sock.close()
        assert not thread.is_alive()


class ServiceProcess:
    """The service in a process of its own, whose clock is a file; it can be killed and started again on its port."""

    def __init__(self, ledger: Ledger, folder: Path, *, workers: int = 1, now: datetime = shop.NOW) -> None:
        """Prepare; ``start`` runs it."""
        from keyseat_issuer.server.server import bind, url_of  # noqa: PLC0415 - Django is set up by a fixture

        self.ledger = ledger
        self.log = folder / "service.log"
        self.clock_file = folder / "clock"
        self.workers = workers
        self.set_clock(now)
        # The socket is ours and outlives the process: its port stays the same, and callers wait while it starts.
        self._sock = bind("127.0.0.1:0")
        self._sock.set_inheritable(True)
        self.url = url_of(self._sock)
        self.process: subprocess.Popen[bytes] | None = None

    def set_clock(self, now: datetime) -> None:
        """Set the service's clock."""
        part = self.clock_file.with_suffix(".part")
        part.write_text(format_instant(now))
        part.replace(self.clock_file)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    service_program.__file__,
                    str(self._sock.fileno()),
                    str(self.clock_file),
                    str(self.workers),
                ],
                env=self.ledger.env,
                pass_fds=[self._sock.fileno()],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _START
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=1, trust_env=False)
            except httpx.HTTPError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                assert time.monotonic() < until
            else:
                return

    def kill(self) -> None:
        """End the process, and its workers, with SIGKILL."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        """Kill it and free the port."""
        self.kill()
        self._sock.close()
