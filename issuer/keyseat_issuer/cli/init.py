"""`keyseat-issuer init`: keys, trust bundle and ledger of a new issuer."""

import sys
from pathlib import Path

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.passphrase import passphrase_option, read_passphrase
from keyseat_issuer.cli.trust_changes import root_lines
from keyseat_issuer.cli.trust_options import checked, products_from, sunset_from
from keyseat_issuer.home import issuer_home
from keyseat_shared.instants import format_instant, now_utc
from keyseat_shared.policy import DEFAULT_SUNSET, default_policy

_ROOT_STEP = {
    False: "Move the root key to a medium that you keep offline; hand it back with --root-keys FOLDER.",
    True: "Give each holder a root key, keep none here; changes become proposals that they sign (`trust sign`).",
}
_SIGNS = {"root": "signs trust bundles", "license": "signs licences", "lease": "signs leases"}


@click.command()
@click.option("--vendor", default="Licence vendor", show_default=True, help="Your name, as clients show it.")
@click.option("--no-sunset", is_flag=True, help="Offline licences may be issued without end.")
@click.option("--sunset", metavar="DATE", help="Offline licences end at this date or instant (UTC).")
@click.option(
    "--product",
    "products",
    metavar="CODE=KIND,NAME",
    multiple=True,
    help="A product of yours: APP=named,My Application or CI=floating[,unlimited],My Runner. Repeatable.",
)
@click.option("--hybrid", is_flag=True, help="Also make ML-DSA-65 keys, root keys too, and require both signatures.")
@click.option("--root-keys", "holders", type=click.IntRange(1, 16), default=1, metavar="N", help="Make N root keys.")
@click.option(
    "--root-threshold",
    "threshold",
    type=click.IntRange(1, 16),
    default=1,
    metavar="K",
    help="So many of them must sign every change of keys or policy.",
)
@click.option(
    "--root-folder",
    "root_folders",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Write root keys here (a stick), not into the issuer's home. One for all, or one for each, in order.",
)
@click.option(
    "--root-passphrase-file",
    "root_passphrase_files",
    metavar="FILE",
    multiple=True,
    help="File with the passphrase of root keys. One for all, or one for each, in order. Default: that of the others.",
)
@passphrase_option
@json_option
@pass_output
def init(
    output: Output,
    *,
    vendor: str,
    no_sunset: bool,
    sunset: str | None,
    products: tuple[str, ...],
    hybrid: bool,
    holders: int,
    threshold: int,
    root_folders: tuple[Path, ...],
    root_passphrase_files: tuple[str, ...],
    passphrase_file: str | None,
) -> None:
    """Make keys, trust bundle and ledger under KEYSEAT_ISSUER_HOME.

    Without --sunset or --no-sunset, offline licence generation ended on 2024-01-17, as the products KSE and KRE
    have it. Nothing that exists is ever overwritten.
    """
    from keyseat_issuer.server.creation import RootPlan, check_roots, create_issuer, refuse_existing

    policy = default_policy(sunset_from(sunset, no_sunset=no_sunset, present=DEFAULT_SUNSET))
    if products:
        policy = policy._replace(products=products_from(products))
    policy = checked(policy)
    home = issuer_home()
    refuse_existing(home)
    # Before a person types a passphrase in vain.
    roots = RootPlan(holders, threshold, root_folders, root_passphrase_files)
    check_roots(roots, hybrid=hybrid)
    passphrase = read_passphrase(output, passphrase_file, new=True)
    own = _root_passphrases(output, root_passphrase_files, holders, is_asked=passphrase_file is None)
    from keyseat_issuer.server.django import setup

    setup()
    from keyseat_issuer.ledger.audit.log import cli_actor

    now = now_utc()
    made = create_issuer(
        home,
        vendor=vendor,
        policy=policy,
        passphrase=passphrase,
        actor=cli_actor(),
        now=now,
        hybrid=hybrid,
        roots=roots._replace(passphrases=own),
    )

    def human() -> None:
        output.print(f"Made the issuer of {vendor!r} in {home}", "bold")
        output.print("  trust.json: version 1, what your clients trust")
        for path in made.key_files:
            shown = f"keys/{path.name}" if path.parent.parent == home else path
            output.print(f"  {shown}: {_SIGNS[path.name.partition('-')[0]]}")
        for line in root_lines(made.trust):
            output.print(f"  {line}")
        output.print()
        output.print("Next:")
        output.print("  1. Back up the whole folder. A lost passphrase cannot be reset.")
        output.print(f"  2. {_ROOT_STEP[holders > 1]}")
        output.print("  3. `keyseat-issuer trust export trust.json` writes the file to build into your client.")
        output.print("  4. `keyseat-issuer org add NAME` adds your first customer.")

    output.emit(
        {
            "home": home,
            "vendor": vendor,
            "trust_version": made.trust.version,
            "sunset": None if policy.sunset is None else format_instant(policy.sunset),
            "root_threshold": made.trust.threshold,
            "keys": [{"keyid": path.stem.partition("-")[2], "file": path} for path in made.key_files],
        },
        human,
    )
    if policy.sunset is not None and policy.sunset <= now:
        output.warn(
            f"under this policy offline licence generation ended at {format_instant(policy.sunset)}: seats and"
            " online activation work, offline licences are refused. `keyseat-issuer policy set --no-sunset` changes it."
        )


def _root_passphrases(output: Output, files: tuple[str, ...], holders: int, *, is_asked: bool) -> tuple[str, ...]:
    """Return the passphrases of root keys: of files, else each holder's own, typed here where there are several."""
    if files:
        return tuple([read_passphrase(output, file, new=True) for file in files])
    if holders == 1 or not is_asked or not sys.stdin.isatty():
        return ()
    output.say(f"Now the holders of the {holders} root keys choose their own, one after another.")
    return tuple(
        [
            read_passphrase(output, None, new=True, what=f"Passphrase of root key {number} of {holders}")
            for number in range(1, holders + 1)
        ]
    )
