"""The versions of the trust bundle: on disk, on record in the ledger, and the two brought together after a crash."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from keyseat_issuer.database import ledger_errors, require_ready
from keyseat_issuer.home import HISTORY_FOLDER, TRUST_FILE, exclusive, load_trust, make_private_folder, write_private
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.trust import TrustBundle

CREATED = "trust.created"
KEY_ADDED = "trust.key_added"
KEY_RETIRED = "trust.key_retired"
KEY_REVOKED = "trust.key_revoked"
ROOT_ROTATED = "trust.root_rotated"
POLICY_SET = "trust.policy_set"
BUNDLE_ACTIONS = (CREATED, KEY_ADDED, KEY_RETIRED, KEY_REVOKED, ROOT_ROTATED, POLICY_SET)
"""The audit rows that carry a bundle: details hold ``version``, ``digest`` and ``bundle`` (the whole text)."""


def bundle_digest(data: bytes) -> str:
    """Return ``sha256:`` and the hex digest of a bundle file."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def audit_details(data: bytes, version: int) -> dict[str, object]:
    """Return what an audit row says about a bundle, from which ``current_trust`` can restore it."""
    return {"version": version, "digest": bundle_digest(data), "bundle": data.decode()}


def write_history(home: Path, data: bytes, version: int) -> None:
    """Keep a bundle file under its version."""
    make_private_folder(home / HISTORY_FOLDER)
    write_private(home / HISTORY_FOLDER / f"{version}.json", data)


def read_version(home: Path, version: int) -> bytes:
    """Return the bundle file of a version.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``UNREADABLE``.
    """
    try:
        return (home / HISTORY_FOLDER / f"{version}.json").read_bytes()
    except FileNotFoundError:
        raise KeyseatError(ReasonCode.NOT_FOUND, f"there is no trust bundle of version {version} here") from None
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise KeyseatError(
            ReasonCode.UNREADABLE, f"version {version} of the trust bundle cannot be read: {reason}"
        ) from None


def current_trust(home: Path) -> TrustBundle:
    """Return the trust bundle in force, after finishing a change that a crash had cut short.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
        TrustError: ``TRUST_INVALID`` where trust.json is one that the ledger does not know, ``UNREADABLE``, ...
    """
    require_ready()
    with exclusive(home):
        return reconciled(home)


def reconciled(home: Path) -> TrustBundle:
    """Return the bundle in force; like ``current_trust``, for those who hold the home already."""
    trust = load_trust(home)
    record = recorded()
    if not record:
        # A ledger that was made by `migrate` under an existing home: it learns of the bundle with its next change.
        return trust
    if bundle_digest(trust.data) not in {entry.digest for entry in record}:
        raise TrustError(
            ReasonCode.TRUST_INVALID,
            f"trust.json (version {trust.version}) is not one that the ledger has on record",
            next_step="Restore the issuer's home and the ledger from the same backup; `keyseat-issuer audit list`"
            " shows which versions the ledger knows.",
        )
    newest = trust
    for entry in record:
        if entry.version > newest.version:
            newest = newest.update(entry.bundle.encode())
            # Each of them: clients step through them, and a change that lost a race may have left another file here.
            write_history(home, newest.data, newest.version)
    if newest is not trust:
        write_private(home / TRUST_FILE, newest.data)
    return newest


class Recorded(NamedTuple):
    """A bundle as an audit row has it."""

    version: int
    digest: str
    bundle: str


def recorded() -> list[Recorded]:
    """Return the bundles that the ledger has on record, oldest first."""
    from keyseat_issuer.ledger.models import AuditEvent  # noqa: PLC0415 - Django is set up by now

    with ledger_errors():
        rows = AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS).order_by("seq")
        return [read_details(details) for details in rows.values_list("details", flat=True)]


def read_details(details: str) -> Recorded:
    """Read the details of an audit row that carries a bundle."""
    found = json.loads(details)
    return Recorded(found["version"], found["digest"], found["bundle"])
