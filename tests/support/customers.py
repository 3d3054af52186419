"""A customer's machine for tests of the online client: a home folder, and clients that ask a test's service."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activation import Site
from keyseat_shared.machine_id import MachineID
from keyseat_shared.trust import TrustBundle
from keyseat_verifier import LicenseClient
from vendor import MACHINE

PATIENCE = 60.0
"""Seconds in which what runs in the background must have happened, on a busy machine."""


@dataclass
class Desktop:
    """A machine with an account on it."""

    home: Path
    site: Site
    machine: MachineID = field(default_factory=lambda: MACHINE)

    def client(self, product: str = "KRE", *, trust: TrustBundle | None = None, **given: object) -> LicenseClient:
        """Return a client as a program makes one, on the service's clock."""
        options: dict[str, Any] = {"server": self.site.url, "clock": self.site.clock, "machine": self.machine, **given}
        return LicenseClient(product, trust or self.site.vendor.bundle, home=self.home, **options)

    def put_license(self, data: bytes, name: str = "a.lic") -> Path:
        """Put a licence file where it is looked for."""
        path = self.home / "license" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def leases(self) -> list[Path]:
        """Return the files of leases kept here."""
        return sorted((self.home / "leases").glob("*/*.lease"))


def wait_until(happened: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        os.sched_yield()
        time.sleep(0.01)
