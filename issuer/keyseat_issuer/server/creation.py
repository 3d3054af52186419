"""Making a new issuer: keys, trust bundle and ledger in one go, whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from keyseat_issuer.home import LEDGER_FILE, LOCK_FILE, TRUST_FILE, make_private_folder, write_private
from keyseat_issuer.keys.roots import choose, require_room
from keyseat_issuer.keys.store import ROOT, KeyStore, PrivateKey
from keyseat_issuer.ledger.audit.bundles import BUNDLE_ACTIONS, CREATED, audit_details
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.server.django import setup
from keyseat_issuer.server.tables import migrate
from keyseat_issuer.trust.draft import Draft, new_trusted_key, require_sound_counts
from keyseat_issuer.trust.history import write_history
from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.policy import Policy
from keyseat_shared.trust import LEASE, LICENSE, TrustBundle
from keyseat_shared.writing import sync_folder

T = TypeVar("T")

MAX_HYBRID_HOLDERS = 5
"""Holders of a hybrid root: each takes 2.7 KB of payload, and a file of 64 KiB must hold later keys as well."""


class RootPlan(NamedTuple):
    """How many people hold a root key, and how many of them must sign. Hybrid issuers give each a key of both kinds.

    ``folders`` and ``passphrases`` are one for all or one for each; without them the keys go into the home, under
    the issuer's passphrase.
    """

    holders: int = 1
    threshold: int = 1
    folders: tuple[Path, ...] = ()
    passphrases: tuple[str, ...] = ()


class Created(NamedTuple):
    """What was made: the home, its trust bundle, and where each key file is."""

    home: Path
    trust: TrustBundle
    key_files: tuple[Path, ...]


def use_ledger_of(home: Path) -> None:
    """Point this process at the SQLite ledger in ``home``; nothing happens where ``DATABASE_URL`` names a database."""
    setup()
    from django.db import connection

    if connection.vendor == "sqlite" and not os.environ.get("DATABASE_URL", "").strip():
        connection.close()
        connection.settings_dict["NAME"] = str(home / LEDGER_FILE)


def create_issuer(
    home: Path,
    *,
    vendor: str,
    policy: Policy,
    passphrase: str,
    actor: str,
    now: datetime,
    hybrid: bool = False,
    roots: RootPlan = RootPlan(),  # noqa: B008 - a value
) -> Created:
    """Make an issuer in ``home``, which must not exist yet (or be an empty folder).

    Everything is made in a folder beside it, which takes the name at the end. ``hybrid`` adds ML-DSA-65
    keys, root keys as well, and requires their signatures. Root keys of folders elsewhere are written there.

    Raises:
        KeyseatError: ``ALREADY_EXISTS``, ``INVALID_INPUT``, ``UNREADABLE`` or ``LEDGER_UNAVAILABLE``.
    """
    _check_vendor(vendor)
    refuse_existing(home)
    algorithms = (ED25519, ML_DSA_65) if hybrid else (ED25519,)
    check_roots(roots, hybrid=hybrid)
    with _folder_beside(home) as building, _forgotten_on_failure() as elsewhere:
        made = _make_root_keys(building, roots, passphrase, algorithms, elsewhere)
        signing = _make_signing_keys(building, passphrase, algorithms)
        draft = Draft(
            version=1,
            issued_at=now,
            vendor=vendor,
            root=tuple([key.public for key, _ in made]),
            threshold=roots.threshold,
            keys=tuple([new_trusted_key(key.public, purpose, now, None) for purpose, key, _ in signing]),
            policy=policy,
            signatures_required=algorithms,
        )
        trust = _sign_first(building, draft, [key for key, _ in made])
        _make_ledger(building, trust, actor, now)
        _take_the_name(building, home)
    use_ledger_of(home)
    files = [*[path for _, path in made], *[path for _, _, path in signing]]
    return Created(home, trust, tuple([_moved(path, building, home) for path in files]))


def _moved(path: Path, building: Path, home: Path) -> Path:
    return home / path.relative_to(building) if path.is_relative_to(building) else path


def _check_vendor(vendor: str) -> None:
    try:
        fields.text(vendor, "the vendor's name")
    except MalformedError as error:
        raise KeyseatError(ReasonCode.INVALID_INPUT, error.message) from None


def refuse_existing(home: Path) -> None:
    """Require that nothing is in ``home`` yet.

    Raises:
        KeyseatError: ``ALREADY_EXISTS`` or ``UNREADABLE``.
    """
    try:
        taken = home.exists() and (not home.is_dir() or any(entry.name != LOCK_FILE for entry in home.iterdir()))
    except OSError as error:
        raise KeyseatError(ReasonCode.UNREADABLE, f"cannot look into {str(home)!r}: {error.strerror}") from None
    if taken:
        what = "there is an issuer" if (home / TRUST_FILE).exists() else "there are other files"
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS,
            f"{what} in {str(home)!r} already; nothing was changed",
            next_step="Use it as it is, or set KEYSEAT_ISSUER_HOME to another folder.",
        )


@contextlib.contextmanager
def _folder_beside(home: Path) -> Iterator[Path]:
    building = home.with_name(f".{home.name}.init-{secrets.token_hex(4)}")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        building.mkdir(mode=0o700)
    except OSError as error:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"cannot write in {str(home.parent)!r}: {error.strerror}",
            next_step="Set KEYSEAT_ISSUER_HOME to a folder that you may make.",
        ) from None
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_roots(roots: RootPlan, *, hybrid: bool) -> None:
    """Refuse root keys that could not work: a threshold out of reach, or more signatures than a file holds.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    if not 1 <= roots.threshold <= roots.holders:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"of {roots.holders} root key(s) {roots.threshold} cannot sign",
            next_step="Choose a threshold from 1 to the number of root keys.",
        )
    if hybrid and roots.holders > MAX_HYBRID_HOLDERS:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"a hybrid root has at most {MAX_HYBRID_HOLDERS} holders: the keys of more leave no room in the bundle",
            next_step="Choose fewer root keys.",
        )
    for given, what in ((roots.folders, "folders"), (roots.passphrases, "passphrases")):
        if len(given) not in {0, 1, roots.holders}:
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"there are {roots.holders} root key holders and {len(given)} {what}",
                next_step="Name one for all of them, or one for each.",
            )
    require_sound_counts(dict.fromkeys((ED25519, ML_DSA_65) if hybrid else (ED25519,), roots.holders), roots.threshold)


@contextlib.contextmanager
def _forgotten_on_failure() -> Iterator[list[Path]]:
    """Collect files written elsewhere, and take them away again where the issuer does not come about."""
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        raise


def _make_root_keys(
    building: Path, roots: RootPlan, passphrase: str, algorithms: tuple[str, ...], elsewhere: list[Path]
) -> list[tuple[PrivateKey, Path]]:
    """Make a key of each algorithm for each holder, and return them with their files."""
    made: list[tuple[PrivateKey, Path]] = []
    for holder in range(roots.holders):
        folder = _of(roots.folders, holder)
        store = KeyStore(building, [] if folder is None else [folder])
        for algorithm in algorithms:
            key = PrivateKey.generate(algorithm)
            path = store.save(ROOT, key, _of(roots.passphrases, holder) or passphrase)
            if folder is not None:
                elsewhere.append(path)
            made.append((key, path))
    return made


def _of(given: tuple[T, ...], holder: int) -> T | None:
    """Return what was given for a holder: one for all, or one for each."""
    return None if not given else given[holder if len(given) > 1 else 0]


def _make_signing_keys(
    building: Path, passphrase: str, algorithms: tuple[str, ...]
) -> list[tuple[str, PrivateKey, Path]]:
    store = KeyStore(building)
    made = [(purpose, PrivateKey.generate(name)) for purpose in (LICENSE, LEASE) for name in algorithms]
    return [(purpose, key, store.save(purpose, key, passphrase)) for purpose, key in made]


def _sign_first(building: Path, draft: Draft, roots: Sequence[PrivateKey]) -> TrustBundle:
    """Sign version 1 with as many root keys as must, and write it."""
    require_room(draft.payload(), draft.quorums())
    needed = choose(draft.root, draft.quorums())
    data = draft.sign([key for key in roots if key.public in needed])
    trust = TrustBundle.from_bytes(data)
    trust.check_keys()
    write_history(building, data, trust.version)
    write_private(building / TRUST_FILE, data)
    return trust


def _make_ledger(folder: Path, trust: TrustBundle, actor: str, now: datetime) -> None:
    use_ledger_of(folder)
    migrate()
    from django.db import connection, transaction

    from keyseat_issuer.ledger.audit.log import append
    from keyseat_issuer.ledger.models import AuditEvent

    with ledger_errors(), transaction.atomic():
        row = append(
            actor=actor,
            action=CREATED,
            organization=None,
            subject=trust.vendor,
            details=audit_details(trust.data, trust.version),
            now=now,
        )
        # After the append, whose lock makes a second `init` on the same server wait and then see us.
        if AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS, seq__lt=row.seq).exists():
            raise KeyseatError(
                ReasonCode.ALREADY_EXISTS,
                "the database that DATABASE_URL names belongs to an issuer already; nothing was changed",
                next_step="Restore that issuer's home from its backup, or name an empty database.",
            )
    # Closing writes the write-ahead log back into the file, which is about to be moved.
    connection.close()


def _take_the_name(building: Path, home: Path) -> None:
    try:
        if home.is_dir():
            with contextlib.suppress(FileNotFoundError):
                (home / LOCK_FILE).unlink()
            # Fails where somebody has put something there meanwhile, and that is right.
            home.rmdir()
        building.rename(home)
        sync_folder(home.parent)
        make_private_folder(home)
    except OSError as error:
        refuse_existing(home)  # another `init` was faster
        raise KeyseatError(
            ReasonCode.UNREADABLE, f"cannot make {str(home)!r}: {error.strerror}; nothing was changed"
        ) from None
