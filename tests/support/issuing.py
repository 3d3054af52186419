"""An issuer for tests: its keys are sealed at a cost that tests can pay."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyseat_issuer.keys import pkcs8
from keyseat_issuer.server.creation import Created, create_issuer
from keyseat_shared.policy import Policy, default_policy

PASSPHRASE = "correct horse battery staple"
NOW = datetime(2023, 6, 1, 12, tzinfo=UTC)


def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal keys at 1/2,048 of the real cost."""
    monkeypatch.setattr(pkcs8, "SCRYPT_N", 2**6)


def make_issuer(home: Path, *, policy: Policy | None = None, hybrid: bool = False, now: datetime = NOW) -> Created:
    """Make an issuer in ``home`` on the ledger that Django is pointed at."""
    return create_issuer(
        home,
        vendor="Example Vendor",
        policy=policy or default_policy(),
        passphrase=PASSPHRASE,
        actor="test",
        now=now,
        hybrid=hybrid,
    )
