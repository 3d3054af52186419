"""The batch row: a table becomes licences with rules, signature, self-verification, ledger, audit and one file each."""

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import psutil
from sample import POLICY, Sample, machine
from timing import Row, compare, take_turns

from keyseat_shared.instants import add_years, now_utc

if TYPE_CHECKING:
    from keyseat_issuer.ledger.offline.values import Terms

_ORGANIZATION = "Benchmark Organisation"
_PASSPHRASE = "benchmark-passphrase"  # noqa: S105 - of a vendor that exists for a minute


_FILES = "a bare file each, unsigned"
_VERIFIED = "bare sign and verify"


def batch_row(rounds: int, size: int) -> tuple[Row, list[str]]:
    """Issue batches of ``size`` licences, each for machines not seen before, on a ledger that grows with them.

    Ledger and files are in the folder for temporary files (``TMPDIR``); the notes say on which file system that is.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "issuer"
        os.environ["KEYSEAT_ISSUER_HOME"] = str(home)
        os.environ.pop("DATABASE_URL", None)
        terms = _issuer(home, quota=size * (rounds + 2))
        sample, payload = Sample(), Sample().payload(str(machine(1)))
        message, claims = payload.to_bytes(), payload.to_dict()
        public = sample.private.public_key()
        license_file = sample.license_file(str(machine(1)))

        def bare() -> None:
            for _ in range(size):
                sample.private.sign(message)

        def verified() -> None:
            for _ in range(size):
                public.verify(sample.private.sign(message), message)

        def files() -> None:
            place = Path(tempfile.mkdtemp(dir=folder))
            for number in range(size):
                descriptor = os.open(place / f"{number}.lic", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.write(descriptor, license_file)
                os.close(descriptor)

        def peer() -> None:
            for _ in range(size):
                jwt.encode(claims, sample.private, algorithm="EdDSA")

        times = take_turns(
            {
                "bare Ed25519 sign": bare,
                "keyseat": _issue(terms, Path(folder) / "files", [_table(n, size) for n in range(rounds + 1)]),
                "PyJWT encode, nothing stored": peer,
                _VERIFIED: verified,
                _FILES: files,
            },
            rounds,
            1,
        )
        system = _file_system(folder)
    each = {name: [seconds / size for seconds in found] for name, found in times.items()}
    row = compare(
        f"batch issue of {size:,}, per licence", each, baseline="bare Ed25519 sign", ours="keyseat", limit=10, aim=6.5
    )
    return row, _notes(row, system)


def _notes(row: Row, system: str) -> list[str]:
    """Say where the files were, and what a missed limit is made of."""
    signed, price = row.peers[_VERIFIED].median, row.peers[_FILES].median
    notes = [
        f"the batch's ledger and files are on {system}, where making a bare file takes {price:.1f} bare signatures"
    ]
    if not row.passes:
        rest = row.ours.median - signed - price
        notes.append(
            f"the batch misses its limit: signing and checking bare take {signed:.1f} of it, bare files {price:.1f},"
            f" so that {rest:.1f} are rules, formats, ledger, audit and disk"
        )
    if price > 1:
        notes.append(
            "ext4 makes files slowly for some minutes after many were deleted there, by other benchmarks or tests"
            " perhaps; TMPDIR=/dev/shm leaves the disk out"
        )
    return notes


def _file_system(folder: str) -> str:
    """Return the type of the file system that a folder is on."""
    places = [part for part in psutil.disk_partitions(all=True) if Path(folder).is_relative_to(part.mountpoint)]
    # Of two mounted at one place the later one is seen.
    found = max(reversed(places), key=lambda part: len(part.mountpoint), default=None)
    return found.fstype if found else "an unknown file system"


def _issuer(home: Path, quota: int) -> "Terms":
    """Make a vendor on SQLite with one customer, and unlock its key: none of that is timed."""
    from keyseat_issuer.server.creation import create_issuer  # noqa: PLC0415 - after KEYSEAT_ISSUER_HOME is set

    created = create_issuer(
        home, vendor="Benchmark", policy=POLICY, passphrase=_PASSPHRASE, actor="benchmark", now=now_utc()
    )
    from keyseat_issuer.keys.signing import open_license_signer  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.customers import organizations, subscriptions  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.models import Term  # noqa: PLC0415 - Django is set up by now
    from keyseat_issuer.ledger.offline.values import Terms  # noqa: PLC0415 - as above

    now = now_utc()
    start = now.replace(hour=0, minute=0, second=0) - timedelta(days=1)
    customer = organizations.add_organization(_ORGANIZATION, actor="benchmark", now=now)
    subscriptions.add_subscription(
        customer,
        term=Term.ANNUAL,
        starts_at=start,
        ends_at=add_years(start, 1),
        products={"KRE": quota},
        policy=created.trust.policy,
        actor="benchmark",
        now=now,
    )
    signer = open_license_signer(home, created.trust, lambda: _PASSPHRASE, now)
    return Terms(created.trust, "benchmark", now, signer)


def _table(number: int, size: int) -> bytes:
    """Return the CSV of one batch, for machines that no other batch names."""
    lines = [f"{_ORGANIZATION},KRE,{machine(number * 1_000_000 + n)}" for n in range(size)]
    return "\n".join(["organization,product,machine_id", *lines]).encode()


def _issue(terms: "Terms", folder: Path, tables: list[bytes]) -> Callable[[], object]:
    from keyseat_issuer.ledger.offline.batch import run_batch  # noqa: PLC0415 - Django is set up by now
    from keyseat_issuer.ledger.offline.batch_csv import read_rows  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.offline.files import check_destination  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.offline.values import Status  # noqa: PLC0415 - as above

    def issue() -> None:
        table = tables.pop()
        rows, bad = read_rows(table)
        result = run_batch(rows, bad, terms, check_destination(folder / str(len(tables)), must_be_folder=True))
        if result.count(Status.ISSUED) != len(rows) or bad:
            msg = f"only {result.count(Status.ISSUED)} of {len(rows)} were issued"
            raise RuntimeError(msg)

    return issue
