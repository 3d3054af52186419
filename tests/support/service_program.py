"""The activation service as a program of its own, with a test vendor's keys and a clock that is a file."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import stories
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import parse_instant
from keyseat_shared.policy import Policy
from keyseat_shared.trust import TrustBundle
from vendor import Vendor


@dataclass(frozen=True)
class Person:
    """A signed-in user."""

    email: str
    scopes: frozenset[str] = frozenset({"sessions"})
    authenticated_at: datetime | None = None


class VendorTrust:
    """The trust bundle and lease key of a test's vendor, in place of an issuer's home with encrypted key files."""

    def __init__(self, vendor: Vendor) -> None:
        """Take the vendor."""
        self.vendor = vendor

    def authority(self, _now: datetime) -> tuple[Policy, "VendorTrust"]:
        """Return policy and signer."""
        return self.vendor.policy, self

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Sign with the lease key."""
        return Envelope(payload_type, payload, (self.vendor.lease_key.sign(payload_type, payload),)).to_bytes()

    def look(self, _now: datetime) -> None:
        """Look for nothing: what the vendor has is in force."""

    def lacks(self, _now: datetime) -> tuple[str, ...]:
        """Return that nothing is missing."""
        return ()

    def bundle(self) -> tuple[bytes, str]:
        """Return the bundle and an ETag."""
        return self.vendor.bundle_bytes(), '"bundle"'

    def version(self, number: int) -> tuple[bytes, str]:
        """Return one version of the bundle and an ETag."""
        history = {**self.vendor.history, self.vendor.version: self.vendor.bundle_bytes()}
        if number not in history:
            raise KeyseatError(ReasonCode.NOT_FOUND, f"there is no version {number} of the trust bundle")
        return history[number], f'"bundle {number}"'

    def trust(self) -> TrustBundle:
        """Return the bundle, parsed."""
        return self.vendor.bundle

    def policy(self) -> Policy:
        """Return the policy."""
        return self.vendor.policy


def _main(descriptor: int, clock_file: str, workers: int) -> None:
    import socket  # noqa: PLC0415 - only in the service's process

    from keyseat_issuer.server.django import setup  # noqa: PLC0415 - as above

    setup()
    stories.begin()
    from keyseat_issuer.api.service import Service  # noqa: PLC0415 - as above
    from keyseat_issuer.api.throttle import Throttle  # noqa: PLC0415 - as above
    from keyseat_issuer.server.app import create_app  # noqa: PLC0415 - as above
    from keyseat_issuer.server.server import serve  # noqa: PLC0415 - as above

    def make() -> Callable[..., Any]:
        service = Service(
            VendorTrust(Vendor()),
            clock=lambda: parse_instant(Path(clock_file).read_text()).astimezone(UTC),
            throttle=Throttle(calls="1000000/minute", failures="1000000/minute"),
            find_user=lambda token, _now: Person(token[5:]) if token.startswith("user:") else None,
        )
        return create_app(service)

    sys.exit(serve(socket.socket(fileno=descriptor), make, workers=workers))


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
