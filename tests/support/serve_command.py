"""`keyseat-issuer serve` as a process of a test."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from databases import Ledger

START = 60.0
"""Seconds in which a server must answer or stop, on a busy machine."""
PROGRAM = "from keyseat_issuer.cli import main; main()"


class Server:
    """The command as a process."""

    def __init__(self, ledger: Ledger, home: Path, *options: str) -> None:
        """Start it on a free port and wait until it is ready."""
        self.log = home / "serve.log"
        environment = ledger.env | {
            "KEYSEAT_ISSUER_HOME": str(home),
            "KEYSEAT_PASSPHRASE_FILE": str(home / "passphrase"),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "serve", "--bind", "127.0.0.1:0", "--drain", "0", *options],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        until = time.monotonic() + START
        while not self.is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        first = self.log.read_text().partition("\n")[0]
        if not first.startswith("Serving on "):
            time.sleep(0.05)
            return False
        self.url = first.split()[2]
        try:
            return httpx.get(f"{self.url}/readyz", timeout=START, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        """Ask it to stop, as systemd does, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START)
