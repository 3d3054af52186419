"""A batch of 1,000 is killed at random points; run again, every row has exactly one licence."""

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import OfflineLicense, Pool

VICTIM = Path(__file__).parent.parent / "support" / "batch_victim.py"
NAMED, FLOATING = 100, 900


def table() -> str:
    """Return 1,000 rows: named and floating ones, and every tenth machine with three equal rows."""
    lines = ["organization,product,machine_id,user,sessions"]
    for number in range(NAMED):
        machine = offline_shop.numbered_machine(number)
        lines.append(f"{offline_shop.NAME},KSE,{machine},user{number}@example.com,")
    for number in range(FLOATING):
        machine = offline_shop.numbered_machine(1_000 + (number - number % 3 if number < 100 else number))
        lines.append(f"{offline_shop.NAME},KRE,{machine},,1")
    return "\n".join(lines) + "\n"


def run(ledger: Ledger, path: Path, out: Path, point: str) -> "subprocess.CompletedProcess[str]":
    """Run the batch in a process of its own, to its death at ``point``."""
    return subprocess.run(
        [sys.executable, str(VICTIM), str(path), str(out), point],
        env=ledger.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_whenever_a_batch_is_killed_a_second_run_completes_it(ledger: Ledger, tmp_path: Path) -> None:
    customer = shop.organization(offline_shop.NAME, *[f"user{number}@example.com" for number in range(NAMED)])
    shop.subscribe(customer, {"KSE": NAMED, "KRE": FLOATING})
    path, out = tmp_path / "batch.csv", tmp_path / "out"
    path.write_text(table())
    chance = random.Random(f"batch {ledger.vendor}")
    before_commit = [f"Signing:{chance.randrange(1_000)}" for _ in range(3)] + ["Signing:999", "commit:before"]
    # In an order in which every run gets further than the one before.
    writing = [
        f"link:before:{chance.randrange(1, 200)}",
        f"link:after:{chance.randrange(1, 200)}",
        *[f"Writing files:{number}" for number in sorted(chance.sample(range(400, 1_000), 3))],
    ]

    for point in before_commit:
        assert -signal.SIGKILL == run(ledger, path, out, point).returncode, point
        assert (0, 0) == (OfflineLicense.objects.count(), len(list(out.iterdir()))), point
        assert () == verify().findings, point
    for point in ["commit:after", *writing]:
        assert -signal.SIGKILL == run(ledger, path, out, point).returncode, point
        assert 1_000 == OfflineLicense.objects.count(), point
        assert () == verify().findings, point
    last = run(ledger, path, out, "never")

    assert "already issued=1000\n" == last.stdout, last.stderr
    held = Counter(bytes(row.file) for row in OfflineLicense.objects.all())
    written = Counter(file.read_bytes() for file in out.iterdir())
    assert 1_000 == len(held)
    assert held == written
    assert {"KSE": NAMED, "KRE": FLOATING} == dict(Pool.objects.values_list("product", "used"))
    assert () == verify().findings
