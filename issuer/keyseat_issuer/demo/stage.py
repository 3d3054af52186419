"""The demo's stage: a throwaway vendor and customer in one folder, the story's clock, and client processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from keyseat_issuer.home import HOME_VARIABLE
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.trust import TrustBundle

if TYPE_CHECKING:
    from keyseat_issuer.keys.signing import EnvelopeSigner
    from keyseat_issuer.ledger.offline.values import Terms

START = datetime(2023, 6, 1, 9, tzinfo=UTC)
"""When the story starts: half a year before the vendor ended offline licences."""
ACTOR = "demo"
ORGANIZATION = "Analytical Engines Ltd"
ADA, BOB = "ada@example.com", "bob@example.com"
_TIMEOUT = 60
# Environment variables that would mix the demo with a real issuer or a real client.
_FOREIGN = (
    "DATABASE_URL",
    "DJANGO_SETTINGS_MODULE",
    "EMAIL_URL",
    "KEYSEAT_API_KEY",
    "KEYSEAT_API_KEY_FILE",
    "KEYSEAT_CA_BUNDLE",
    "KEYSEAT_OLD_SECRET_KEYS",
    "KEYSEAT_ORGANIZATION",
    "KEYSEAT_PASSPHRASE_FILE",
    "KEYSEAT_PUBLIC_URL",
    "KEYSEAT_ROOT_KEYS",
    "KEYSEAT_SECRET_KEY",
    "KEYSEAT_SERVER",
    "KEYSEAT_TRUST",
    "KEYSEAT_TRUSTED_PROXIES",
)


class Stage:
    """Where the acts play, and what earlier acts leave for later ones.

    ``vendor`` is the issuer's home, ``customer`` the client's (``KEYSEAT_HOME``), ``desk`` a folder for files in
    transit. ``now`` is the story's time; it only moves forward.
    """

    machine: MachineID
    trust: TrustBundle
    signer: "EnvelopeSigner"
    license_file: Path
    passphrase: str
    server_url: str = ""
    server: "subprocess.Popen[str] | None" = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vendor = folder / "vendor"
        self.customer = folder / "customer"
        self.desk = folder / "desk"
        self.customer.mkdir()
        self.desk.mkdir()
        self.now = START

    @property
    def trust_file(self) -> Path:
        """The trust bundle as it was handed to the customer."""
        return self.desk / "trust.json"

    @property
    def api_key_file(self) -> Path:
        """The API key of the customer's CI, for the online acts."""
        return self.desk / "api-key"

    def stop_server(self) -> None:
        """Stop the service, if it runs."""
        if self.server is not None:
            self.server.terminate()
            with self.server:  # waits, and closes the pipe
                pass
            self.server = None

    def later(self, **passed: float) -> datetime:
        """Let time pass in the story; return its new time."""
        self.now += timedelta(**passed)
        return self.now

    def terms(self, now: datetime | None = None) -> "Terms":
        """Return under what the issuer acts at the story's time, or at ``now``."""
        from keyseat_issuer.ledger.offline.values import Terms

        return Terms(self.trust, ACTOR, now or self.now, self.signer)

    def keyseat(self, *args: str | Path) -> dict[str, Any]:
        """Run the customer's ``keyseat`` command with ``--json`` in a process of its own; return its answer."""
        apart = "from keyseat_issuer.demo.client import stay_apart; stay_apart()"
        script = f"{apart}; import sys; from keyseat_verifier.cli import main; sys.exit(main())"
        return self._run("-c", script, *args, "--json")

    def program(self, product: str, now: datetime) -> dict[str, Any]:
        """Start the customer's program, in which the client is embedded, at a time of the story."""
        return self._run("-m", "keyseat_issuer.demo.client", product, self.trust_file, format_instant(now))

    def _run(self, *args: str | Path) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
            [sys.executable, *args],
            capture_output=True,
            check=False,
            cwd=self.desk,
            env=os.environ | self._client_environment(),
            text=True,
            timeout=_TIMEOUT,
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            msg = f"the client process said no JSON (exit {done.returncode}): {done.stderr[-500:]}"
            raise RuntimeError(msg) from None
        return answer

    def _client_environment(self) -> dict[str, str]:
        online = {"KEYSEAT_SERVER": self.server_url, "KEYSEAT_API_KEY_FILE": str(self.api_key_file)}
        return {"KEYSEAT_HOME": str(self.customer)} | (online if self.server_url else {})

    def other_machine(self) -> MachineID:
        """Return the ID that another computer of the same kind would have for the same user."""
        return self._changed(lambda kind: kind not in {"user-id", "user-name"})

    def other_user(self) -> MachineID:
        """Return the ID that this computer would have for another user account."""
        return self._changed(lambda kind: kind in {"user-id", "user-name"})

    def _changed(self, changes: Any) -> MachineID:  # noqa: ANN401 - a predicate of two lines above
        tags = {
            kind: [bytes([one[0] ^ 0x55, *one[1:]]) if changes(kind) else one for one in self.machine.tags_of(kind)]
            for kind in self.machine.kinds
        }
        return MachineID(tags, instance_source=self.machine.instance_source)


@contextmanager
def stage() -> Iterator[Stage]:
    """Set a stage that is gone afterwards: no real issuer, ledger or client is seen or touched."""
    with TemporaryDirectory(prefix="keyseat-demo-") as name:
        built = Stage(Path(name))
        with _environment({HOME_VARIABLE: str(built.vendor)}):
            try:
                yield built
            finally:
                built.stop_server()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    try:
        for foreign in _FOREIGN:
            os.environ.pop(foreign, None)
        os.environ.update(changes)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
