"""The versions of the trust bundle on disk, brought together with those on record in the ledger after a crash."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from keyseat_issuer.home import HISTORY_FOLDER, TRUST_FILE, exclusive, load_trust, make_private_folder, write_private
from keyseat_issuer.ledger.audit.bundles import HistoryRow, bundle_digest, damaged, history
from keyseat_issuer.ledger.database import require_ready
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.trust import TrustBundle


def write_history(home: Path, data: bytes, version: int) -> None:
    """Keep a bundle file under its version."""
    make_private_folder(home / HISTORY_FOLDER)
    write_private(home / HISTORY_FOLDER / f"{version}.json", data)


def read_version(home: Path, version: int) -> bytes:
    """Return the bundle file of a version.

    Raises:
        KeyseatError: ``NOT_FOUND``; ``UNREADABLE``, also where the file is damaged.
    """
    path = home / HISTORY_FOLDER / f"{version}.json"
    try:
        data = path.read_bytes()
        # Its client would tell too, but not who can mend it.
        whole = TrustBundle.from_bytes(data, allow_example_keys=True).version == version
    except FileNotFoundError:
        raise KeyseatError(ReasonCode.NOT_FOUND, f"there is no trust bundle of version {version} here") from None
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise KeyseatError(
            ReasonCode.UNREADABLE, f"version {version} of the trust bundle cannot be read: {reason}"
        ) from None
    except TrustError:
        whole = False
    if not whole:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"{str(path)!r} is not version {version} of the trust bundle: it was damaged or changed",
            next_step="Restore this file from a backup of the issuer's home.",
        )
    return data


def current_trust(home: Path) -> TrustBundle:
    """Return the trust bundle in force, after finishing a change that a crash had cut short.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
        TrustError: ``TRUST_INVALID`` where trust.json is one that the ledger does not know, ``AUDIT_BROKEN`` where a
            newer version on record is damaged, ``UNREADABLE``, ...
    """
    require_ready()
    with exclusive(home):
        return reconciled(home)


def reconciled(home: Path) -> TrustBundle:
    """Return the bundle in force; like ``current_trust``, for those who hold the home already.

    Rows older than ``trust.json`` are not looked at: a key can be revoked although somebody spoilt one of them.
    """
    trust = load_trust(home)
    newest = trust
    for newest in successors(trust):
        # Each of them: clients step through them, and a change that lost a race may have left another file here.
        write_history(home, newest.data, newest.version)
    if newest is not trust:
        write_private(home / TRUST_FILE, newest.data)
    return newest


def successors(trust: TrustBundle) -> Iterator[TrustBundle]:
    """Yield the versions that the ledger has on record after ``trust``, each adopted by the update rule.

    A ledger that was made by `migrate` under an existing home has none: it learns of the bundle with its next change.

    Raises:
        TrustError: ``TRUST_INVALID`` where ``trust`` is not on record, ``AUDIT_BROKEN`` where a newer one is damaged.
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    rows = history()
    own = bundle_digest(trust.data)
    places = [place for place, row in enumerate(rows) if row.entry is not None and row.entry.digest == own]
    if rows and not places:
        raise _not_on_record(trust, rows)
    for row in rows[places[-1] + 1 :] if places else []:
        if row.entry is None:
            raise damaged(row.seq)
        try:
            trust = trust.update(row.entry.bundle.encode())
        except TrustError:
            raise damaged(row.seq) from None
        yield trust


def in_force(home: Path) -> TrustBundle:
    """Return the newest bundle on record, and write nothing: for servers, whose home may be read-only.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
        TrustError: as ``successors``, and as ``load_trust``.
    """
    trust = load_trust(home)
    for trust in successors(trust):  # noqa: B007, B020 - each follows the one before; the last one counts
        pass
    return trust


def _not_on_record(trust: TrustBundle, rows: Sequence[HistoryRow]) -> TrustError:
    known = [row.entry.version for row in rows if row.entry is not None]
    copy = f"copy {HISTORY_FOLDER}/{known[-1]}.json of the issuer's home over it, or " if known else ""
    return TrustError(
        ReasonCode.TRUST_INVALID,
        f"trust.json (version {trust.version}) is not one that the ledger has on record",
        details={
            "on_record": known,
            "damaged_rows": [row.seq for row in rows if row.entry is None],
        },
        next_step=f"Find out who replaced it; then {copy}restore home and ledger from the same backup.",
    )
