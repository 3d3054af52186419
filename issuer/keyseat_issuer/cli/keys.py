"""`keyseat-issuer keys`: the keys that sign licences and leases."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.passphrase import passphrase_asker, read_passphrase, warn_of_exposed_keys
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.cli.trust_access import Access, admin_options, open_admin, tell_pending
from keyseat_issuer.cli.trust_options import key_rows, print_keys
from keyseat_issuer.home import issuer_home, load_trust
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.trust import ACTIVE, LEASE, LICENSE

if TYPE_CHECKING:
    from keyseat_issuer.keys.store import PrivateKey

_MAX_DAYS = 20 * 366
_SOON = timedelta(days=60)
"""How long before the end of a key's window it is mentioned: clients need the successor's bundle by then."""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def keys() -> None:
    """List, add and retire the keys that sign licences and leases.

    To rotate a key, add the new one, then retire the old one: what the old one signed stays valid. A key that was
    stolen is revoked instead (`keyseat-issuer trust revoke-key`). The root key is rotated by `trust rotate`.
    """


@keys.command("list")
@json_option
@pass_output
def list_keys(output: Output) -> None:
    """List all keys, and whether their private halves are here."""
    home = issuer_home()
    trust = load_trust(home)
    rows = key_rows(trust, home)
    now = now_utc()
    output.emit({"trust_version": trust.version, "keys": rows}, lambda: print_keys(output, rows, now))
    warn_of_exposed_keys(output, home)
    for entry in trust.keys:
        if entry.status == ACTIVE and now < entry.valid_until < now + _SOON:
            output.warn(
                f"{entry.key.keyid} signs until {format_instant(entry.valid_until)} only;"
                f" `keyseat-issuer keys add --purpose {entry.purpose}` makes its successor"
            )


@keys.command("add")
@click.option("--purpose", type=click.Choice([LICENSE, LEASE]), required=True, help="What the key signs.")
@click.option("--algorithm", type=click.Choice([ED25519, ML_DSA_65]), default=ED25519, show_default=True)
@click.option(
    "--valid-for",
    "days",
    type=click.IntRange(1, _MAX_DAYS),
    metavar="DAYS",
    help="Days the key signs. Default: 1826 for licences, 365 for leases.",
)
@click.option("--import", "imported", metavar="PEM", type=_FILE, help="Take this private key (PKCS#8), make none.")
@click.option(
    "--import-passphrase-file",
    "own_passphrase",
    metavar="FILE",
    help="With --import: file whose first line is the PEM's own passphrase. Default: that of the issuer's keys.",
)
@click.option("--uri", metavar="URI", help="The key lives in an HSM, KMS or vault, under this private key URI.")
@click.option("--public-key", metavar="PEM", type=_FILE, help="With --uri: the public half of that key.")
@admin_options
@pass_output
def add(
    output: Output,
    *,
    purpose: str,
    algorithm: str,
    days: int | None,
    imported: Path | None,
    own_passphrase: str | None,
    uri: str | None,
    public_key: Path | None,
    access: Access,
) -> None:
    """Add a key, in a new version of the trust bundle.

    Clients trust what it signs once they have that version. The newest valid key is the one used.
    """
    if (uri is None) != (public_key is None) or (uri is not None and imported is not None):
        raise KeyseatError(ReasonCode.INVALID_INPUT, "--uri goes with --public-key, and not with --import")
    if own_passphrase is not None and imported is None:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "--import-passphrase-file goes with --import")
    admin = open_admin(output, access)
    if uri is not None and public_key is not None:
        from keyseat_issuer.keys.store import parse_public_key

        entry = admin.add_remote_key(purpose, parse_public_key(public_key), uri, days=days)
    elif imported is not None:
        key = _imported(output, imported, own_passphrase, access.passphrase_file)
        entry = admin.import_key(purpose, key, days=days)
    else:
        entry = admin.add_key(purpose, algorithm, days=days)
    keyid, until = entry.key.keyid, format_instant(entry.valid_until)
    told: dict[str, object] = {"keyid": keyid, "purpose": purpose, "algorithm": entry.key.algorithm}
    if tell_pending(output, admin, told | {"valid_until": until}):
        return
    version = load_trust().version

    def human() -> None:
        output.print(
            f"Added the {purpose} key {keyid}, valid until {until}; the trust bundle is version {version} now."
        )
        output.say("Next: back up the keys, and give clients the new bundle (`keyseat-issuer trust export FILE`).")

    output.emit(
        told | {"valid_until": until, "trust_version": version},
        human,
    )


def _imported(output: Output, pem: Path, own_passphrase: str | None, passphrase_file: str | None) -> "PrivateKey":
    """Read the private key to import, under its own passphrase, the issuer's, or none."""
    from keyseat_issuer.keys.store import is_encrypted, parse_private_key, read_bounded

    content = read_bounded(pem)
    if not is_encrypted(content):
        return parse_private_key(content, "", str(pem))
    if own_passphrase is not None:
        wrong = f"Check the first line of {own_passphrase!r}."
        return parse_private_key(content, read_passphrase(output, own_passphrase), str(pem), wrong=wrong)
    passphrase = passphrase_asker(output, passphrase_file)()
    wrong = "It is not that of the issuer's keys. Name a file with its own: --import-passphrase-file FILE."
    return parse_private_key(content, passphrase, str(pem), wrong=wrong)


@keys.command()
@click.argument("keyid")
@admin_options
@pass_output
def retire(output: Output, *, keyid: str, access: Access) -> None:
    """Stop signing with the key KEYID (its first characters will do). What it signed stays valid."""
    admin = open_admin(output, access)
    entry = admin.retire_key(keyid)
    if tell_pending(output, admin, {"keyid": entry.key.keyid, "status": entry.status}):
        return
    trust = load_trust()

    def human() -> None:
        output.print(f"Retired {entry.key.keyid}; the trust bundle is version {trust.version} now.")

    output.emit({"keyid": entry.key.keyid, "status": entry.status, "trust_version": trust.version}, human)
    warn_without_key(output, entry.purpose)


def warn_without_key(output: Output, purpose: str) -> None:
    """Warn where no key is left that could sign for the purpose."""
    from keyseat_issuer.keys.signing import choose_key
    from keyseat_issuer.keys.store import KeyStore

    trust, home = load_trust(), issuer_home()
    try:
        for algorithm in trust.signatures_required:
            choose_key(trust, purpose, algorithm, now_utc(), KeyStore(home))
    except KeyseatError as error:
        output.warn(f"{error.message}. {STEPS.of(error)}")
