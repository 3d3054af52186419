"""Making a new issuer: keys, trust bundle and ledger in one go, whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from keyseat_issuer.database import ledger_errors, migrate
from keyseat_issuer.home import LEDGER_FILE, LOCK_FILE, TRUST_FILE, make_private_folder, sync_folder, write_private
from keyseat_issuer.keystore import ROOT, KeyStore, PrivateKey
from keyseat_issuer.trust_admin import Draft, new_trusted_key
from keyseat_issuer.trust_history import BUNDLE_ACTIONS, CREATED, audit_details, write_history
from keyseat_issuer.web.start import setup
from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.policy import Policy
from keyseat_shared.trust import LEASE, LICENSE, TrustBundle


class Created(NamedTuple):
    """What was made: the home, its trust bundle, and where each key file is."""

    home: Path
    trust: TrustBundle
    key_files: tuple[Path, ...]


def use_ledger_of(home: Path) -> None:
    """Point this process at the SQLite ledger in ``home``; nothing happens where ``DATABASE_URL`` names a database."""
    setup()
    from django.db import connection  # noqa: PLC0415 - Django is set up by now

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
) -> Created:
    """Make an issuer in ``home``, which must not exist yet (or be an empty folder).

    Everything is made in a folder beside it, which takes the name at the end. ``hybrid`` adds ML-DSA-65
    keys and requires their signatures.

    Raises:
        KeyseatError: ``ALREADY_EXISTS``, ``INVALID_INPUT``, ``UNREADABLE`` or ``LEDGER_UNAVAILABLE``.
    """
    _check_vendor(vendor)
    refuse_existing(home)
    with _folder_beside(home) as building:
        trust, names = _make_keys_and_bundle(building, vendor, policy, passphrase, now, hybrid=hybrid)
        _make_ledger(building, trust, actor, now)
        _take_the_name(building, home)
    use_ledger_of(home)
    return Created(home, trust, tuple([home / name for name in names]))


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


def _make_keys_and_bundle(
    folder: Path, vendor: str, policy: Policy, passphrase: str, now: datetime, *, hybrid: bool
) -> tuple[TrustBundle, list[Path]]:
    store = KeyStore(folder)
    root = PrivateKey.generate(ED25519)
    algorithms = (ED25519, ML_DSA_65) if hybrid else (ED25519,)
    signing = [(purpose, PrivateKey.generate(name)) for purpose in (LICENSE, LEASE) for name in algorithms]
    names = [store.save(purpose, key, passphrase).relative_to(folder) for purpose, key in [(ROOT, root), *signing]]
    draft = Draft(
        version=1,
        issued_at=now,
        vendor=vendor,
        root=(root.public,),
        threshold=1,
        keys=tuple([new_trusted_key(key.public, purpose, now, None) for purpose, key in signing]),
        policy=policy,
        signatures_required=algorithms,
    )
    data = draft.sign([root])
    trust = TrustBundle.from_bytes(data)
    trust.check_keys()
    write_history(folder, data, trust.version)
    write_private(folder / TRUST_FILE, data)
    return trust, names


def _make_ledger(folder: Path, trust: TrustBundle, actor: str, now: datetime) -> None:
    use_ledger_of(folder)
    migrate()
    from django.db import connection, transaction  # noqa: PLC0415 - Django is set up by now

    from keyseat_issuer.ledger.models import AuditEvent  # noqa: PLC0415 - likewise
    from keyseat_issuer.ledger.services.audit import append  # noqa: PLC0415 - likewise

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
