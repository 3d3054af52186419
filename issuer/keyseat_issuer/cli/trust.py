"""`keyseat-issuer trust`: the trust bundle that clients build in, its root key, and revocation."""

from pathlib import Path

import click

from keyseat_issuer.cli.keys import warn_without_key
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.trust_options import admin_options, key_rows, open_admin, policy_lines, print_keys
from keyseat_issuer.home import issuer_home, load_trust, write_private
from keyseat_issuer.trust_freshness import warning
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc

_SHOWN = 8
"""Characters of a key id that are typed to confirm."""
_PUBLIC = 0o644


@click.group()
def trust() -> None:
    """Show and export the trust bundle, replace the root key, revoke a stolen key."""


@trust.command()
@json_option
@pass_output
def show(output: Output) -> None:
    """Show what clients trust: keys, policy, version."""
    from keyseat_issuer.trust_history import bundle_digest

    home = issuer_home()
    bundle = load_trust(home)
    rows = key_rows(bundle, home)

    def human() -> None:
        output.print(
            f"{bundle.vendor}: trust bundle version {bundle.version}, {format_instant(bundle.issued_at)}", "bold"
        )
        output.print(f"  {bundle_digest(bundle.data)}")
        output.print(f"  {bundle.threshold} of {len(bundle.root)} root key(s) must sign a change")
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
        output.warn(told)


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
def renew(
    output: Output,
    *,
    days: int | None,
    never_stale: bool,
    passphrase_file: str | None,
    root_folder: Path | None,
) -> None:
    """Sign the same keys and rules anew, so that clients have a fresh bundle.

    Under a bundle that is stale clients accept no leases (`policy set --require-fresh` says for what else, or not, a
    fresh one is required). So nobody can keep the news from them that a key was revoked. Every change of keys or
    policy is fresh for as long again.
    """
    if days is not None and never_stale:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "--fresh-days and --never-stale exclude each other")
    bundle = open_admin(output, passphrase_file, root_folder).renew(days, never_stale=never_stale)
    until = None if bundle.fresh_until is None else format_instant(bundle.fresh_until)

    def human() -> None:
        said = "never gets stale" if until is None else f"is fresh until {until}"
        output.print(f"The trust bundle is version {bundle.version} now, and {said}.")
        output.say("Running servers take it up and hand it out by themselves; clients get it from them.")
        if until is not None:
            output.say("Next: note that day. Whoever holds the root key renews it before, with a good margin.")

    output.emit({"trust_version": bundle.version, "fresh_until": until}, human)


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
        from keyseat_issuer.trust_history import read_version

        data = read_version(home, version)
    target = file / "trust.json" if file.is_dir() else file
    write_private(target, data, mode=_PUBLIC)
    written = bundle.version if version is None else version
    output.emit(
        {"file": target, "version": written},
        lambda: output.print(f"Wrote the trust bundle, version {written}: {target}"),
    )


@trust.command()
@click.option("--key", "keyid", metavar="KEYID", help="Which root key to replace, where there are several.")
@admin_options
@pass_output
def rotate(output: Output, *, keyid: str | None, passphrase_file: str | None, root_folder: Path | None) -> None:
    """Replace the root key. The old and the new one sign the new version, so clients go along.

    Keys that sign licences and leases are rotated by `keys add`, then `keys retire`.
    """
    old, new = open_admin(output, passphrase_file, root_folder).rotate_root(keyid)
    version = load_trust().version

    def human() -> None:
        output.print(f"The root key is {new.keyid} now; the trust bundle is version {version}.")
        output.say(f"Next: back up the new key, and keep the old one ({old.keyid}) while clients pin it: it also signs")
        output.say("later versions, so that those clients can take the newest one at once.")

    output.emit({"old": old.keyid, "new": new.keyid, "trust_version": version}, human)


@trust.command("revoke-key")
@click.argument("keyid")
@click.option("--yes", is_flag=True, help="Do not ask.")
@admin_options
@pass_output
def revoke_key(output: Output, *, keyid: str, yes: bool, passphrase_file: str | None, root_folder: Path | None) -> None:
    """Mark the key KEYID as compromised: clients refuse everything that it ever signed.

    Valid licences of customers are refused as well, as soon as their client has the new version. Use it for a
    stolen key; `keys retire` is for one that has served its time.
    """
    from keyseat_issuer.trust_admin import find_key

    entry = find_key(load_trust(), keyid)
    what = "licences" if entry.purpose == "license" else "leases"
    output.confirm(
        "Go on?",
        entry.key.keyid[:_SHOWN],
        yes=yes,
        consequence=f"All {what} ever signed by {entry.key.keyid} will be refused by clients. This cannot be undone.",
    )
    entry = open_admin(output, passphrase_file, root_folder).revoke_key(entry.key.keyid)
    version = load_trust().version

    def human() -> None:
        output.print(f"Revoked {entry.key.keyid}; the trust bundle is version {version} now.")
        output.say("Next: give clients the new bundle; it protects only those who have it. Customers whose offline")
        output.say("licences were signed by this key need new ones, or activate online.")

    output.emit({"keyid": entry.key.keyid, "status": entry.status, "trust_version": version}, human)
    warn_without_key(output, entry.purpose)
