"""`keyseat-issuer trust`: the trust bundle that clients build in, its root keys, and revocation."""

from pathlib import Path

import click

from keyseat_issuer.cli.keys import warn_without_key
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.trust_access import Access, admin_options, open_admin, tell_pending, warn_of_weak_root
from keyseat_issuer.cli.trust_changes import root_lines
from keyseat_issuer.cli.trust_options import key_rows, policy_lines, print_keys
from keyseat_issuer.cli.trust_sign import adopt, new_root, review, sign
from keyseat_issuer.home import issuer_home, load_trust, write_private
from keyseat_issuer.trust.freshness import warning
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc

_SHOWN = 8
"""Characters of a key id that are typed to confirm."""
_PUBLIC = 0o644
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def trust() -> None:
    """Show and export the trust bundle, replace root keys, sign a change of it, revoke a stolen key."""


for _command in (new_root, review, sign, adopt):
    trust.add_command(_command)


@trust.command()
@json_option
@pass_output
def show(output: Output) -> None:
    """Show what clients trust: keys, policy, version."""
    from keyseat_issuer.ledger.audit.bundles import bundle_digest

    home = issuer_home()
    bundle = load_trust(home)
    rows = key_rows(bundle, home)

    def human() -> None:
        output.print(
            f"{bundle.vendor}: trust bundle version {bundle.version}, {format_instant(bundle.issued_at)}", "bold"
        )
        output.print(f"  {bundle_digest(bundle.data)}")
        for line in root_lines(bundle):
            output.print(f"  {line}")
        output.print(f"  a licence needs these signatures: {', '.join(bundle.signatures_required)}")
        if bundle.fresh_until is not None:
            output.print(f"  fresh until {format_instant(bundle.fresh_until)}")
        print_keys(output, rows, now_utc())
        for name, value in policy_lines(bundle.policy).items():
            output.print(f"  {name:<22}{value}")

    output.emit(
        {
            "version": bundle.version,
            "issued_at": format_instant(bundle.issued_at),
            "fresh_until": None if bundle.fresh_until is None else format_instant(bundle.fresh_until),
            "vendor": bundle.vendor,
            "digest": bundle_digest(bundle.data),
            "threshold": bundle.threshold,
            "signatures_required": list(bundle.signatures_required),
            "keys": rows,
            "policy": bundle.policy.to_dict(),
        },
        human,
    )
    if told := warning(bundle, now_utc()):
        output.warn(f"{told} Renew it with the root key: `keyseat-issuer trust renew`.")
    warn_of_weak_root(output, bundle)


@trust.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--version", "version", type=click.IntRange(1), help="An earlier version instead of the newest.")
@json_option
@pass_output
def export(output: Output, *, file: Path, version: int | None) -> None:
    """Write the trust bundle to FILE, to be built into clients (it holds no secrets). FILE is replaced."""
    home = issuer_home()
    bundle = load_trust(home)
    data = bundle.data
    if version is not None and version != bundle.version:
        from keyseat_issuer.trust.history import read_version

        data = read_version(home, version)
    target = file / "trust.json" if file.is_dir() else file
    write_private(target, data, mode=_PUBLIC)
    written = bundle.version if version is None else version
    output.emit(
        {"file": target, "version": written},
        lambda: output.print(f"Wrote the trust bundle, version {written}: {target}"),
    )


@trust.command()
@click.option(
    "--fresh-days",
    "days",
    type=click.IntRange(1, 3650),
    metavar="N",
    help="How long each version is fresh, this and those to come; by default as long as the present one.",
)
@click.option("--never-stale", is_flag=True, help="No longer ask clients for a fresh bundle.")
@admin_options
@pass_output
def renew(output: Output, *, days: int | None, never_stale: bool, access: Access) -> None:
    """Sign the same keys and rules anew, so that clients have a fresh bundle.

    Under a bundle that is stale clients accept no leases (`policy set --require-fresh` says for what else, or not, a
    fresh one is required). So nobody can keep the news from them that a key was revoked. Every change of keys or
    policy is fresh for as long again.
    """
    if days is not None and never_stale:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "--fresh-days and --never-stale exclude each other")
    admin = open_admin(output, access)
    bundle = admin.renew(days, never_stale=never_stale)
    if tell_pending(output, admin, {}):
        return
    until = None if bundle.fresh_until is None else format_instant(bundle.fresh_until)

    def human() -> None:
        said = "never gets stale" if until is None else f"is fresh until {until}"
        output.print(f"The trust bundle is version {bundle.version} now, and {said}.")
        output.say("Running servers take it up and hand it out by themselves; clients get it from them.")
        if until is not None:
            output.say("Next: note that day. Whoever holds root keys renews it before, with a good margin.")

    output.emit({"trust_version": bundle.version, "fresh_until": until}, human)


@trust.command()
@click.option("--key", "replace", metavar="KEYID", multiple=True, help="Replace this root key. Repeatable.")
@click.option("--drop", metavar="KEYID", multiple=True, help="Take this root key out. Repeatable.")
@click.option(
    "--new",
    "given",
    metavar="PEM",
    type=_FILE,
    multiple=True,
    help="Public half of a root key made elsewhere (`trust new-root`), in the place of a replaced key (or of the"
    " only one), else in addition. Repeatable.",
)
@click.option("--uri", metavar="URI", help="With one --new: that key lives in an HSM, KMS or vault, under this URI.")
@click.option("--threshold", type=click.IntRange(1, 16), metavar="K", help="So many root keys must sign from now on.")
@click.option("--hybrid", is_flag=True, help="Add an ML-DSA-65 root key beside each Ed25519 one.")
@click.option(
    "--make-here",
    is_flag=True,
    help="Where several must sign, or some keys are given: make the others on this computer.",
)
@admin_options
@pass_output
def rotate(
    output: Output,
    *,
    replace: tuple[str, ...],
    drop: tuple[str, ...],
    given: tuple[Path, ...],
    uri: str | None,
    threshold: int | None,
    hybrid: bool,
    make_here: bool,
    access: Access,
) -> None:
    """Replace, add or take out root keys, or change how many must sign.

    Present and new root keys sign the new version, so clients go along. Without options the only root key is
    replaced. Keys that sign licences and leases are rotated by `keys add`, then `keys retire`.
    """
    from keyseat_issuer.keys.store import parse_public_key
    from keyseat_issuer.trust.root_rotation import Rotation

    if uri is not None and len(given) != 1:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "--uri goes with exactly one --new")
    asked = Rotation(replace, drop, tuple([parse_public_key(path) for path in given]), threshold, hybrid, make_here)
    admin = open_admin(output, access)
    done = admin.rotate_root(asked, uri=uri)
    told: dict[str, object] = {"old": [key.keyid for key in done.old], "new": [key.keyid for key in done.new]}
    if tell_pending(output, admin, told):
        return
    bundle = load_trust()

    def human() -> None:
        output.print(f"The trust bundle is version {bundle.version} now. Its root:")
        for line in root_lines(bundle):
            output.print(f"  {line}")
        output.say("Next: back up new root keys, and keep the old ones while clients pin them: they also sign later")
        output.say("versions, so that those clients can take the newest one at once.")

    output.emit(told | {"threshold": bundle.threshold, "trust_version": bundle.version}, human)


@trust.command("revoke-key")
@click.argument("keyid")
@click.option("--yes", is_flag=True, help="Do not ask.")
@admin_options
@pass_output
def revoke_key(output: Output, *, keyid: str, yes: bool, access: Access) -> None:
    """Mark the key KEYID as compromised: clients refuse everything that it ever signed.

    Valid licences of customers are refused as well, as soon as their client has the new version. Use it for a
    stolen key; `keys retire` is for one that has served its time.
    """
    from keyseat_issuer.trust.draft import find_key

    entry = find_key(load_trust(), keyid)
    what = "licences" if entry.purpose == "license" else "leases"
    output.confirm(
        "Go on?",
        entry.key.keyid[:_SHOWN],
        yes=yes,
        consequence=f"All {what} ever signed by {entry.key.keyid} will be refused by clients. This cannot be undone.",
    )
    admin = open_admin(output, access)
    entry = admin.revoke_key(entry.key.keyid)
    if tell_pending(output, admin, {"keyid": entry.key.keyid, "status": entry.status}):
        return
    version = load_trust().version

    def human() -> None:
        output.print(f"Revoked {entry.key.keyid}; the trust bundle is version {version} now.")
        output.say("Next: give clients the new bundle; it protects only those who have it. Customers whose offline")
        output.say("licences were signed by this key need new ones, or activate online.")

    output.emit({"keyid": entry.key.keyid, "status": entry.status, "trust_version": version}, human)
    warn_without_key(output, entry.purpose)
