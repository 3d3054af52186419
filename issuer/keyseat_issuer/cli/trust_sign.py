"""`keyseat-issuer trust new-root`, `review`, `sign` and `adopt`: a change that goes from one root key to the next.

All but `adopt` work on a computer without an issuer: where the root key is.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.passphrase import passphrase_asker, passphrase_option, read_passphrase
from keyseat_issuer.cli.trust_access import Access, admin_options, open_admin
from keyseat_issuer.cli.trust_changes import change_lines, root_lines
from keyseat_shared.instants import now_utc
from keyseat_shared.keys import ED25519, ML_DSA_65

if TYPE_CHECKING:
    from keyseat_issuer.trust.proposals import Proposal

_FILE = click.Path(dir_okay=False, path_type=Path)
_PUBLIC = 0o644


@click.command("new-root")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--hybrid", is_flag=True, help="Make an ML-DSA-65 key as well.")
@click.option("--another", is_flag=True, help="Make one more where FOLDER has a root key already.")
@passphrase_option
@json_option
@pass_output
def new_root(output: Output, *, folder: Path, hybrid: bool, another: bool, passphrase_file: str | None) -> None:
    """Make a root key in FOLDER, on the computer of its holder.

    The private half stays there, under a passphrase of its own. The .pub file is for `trust rotate --new`.
    """
    from keyseat_issuer.home import write_private
    from keyseat_issuer.keys.store import ROOT, KeyStore, PrivateKey
    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import KeyseatError

    there = sorted([path.name for path in folder.glob("root-*.pem")])
    if there and not another:
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS,
            f"{str(folder)!r} has a root key already: {', '.join(there)}; nothing was made",
            next_step="Use that one, or say --another.",
        )
    passphrase = read_passphrase(output, passphrase_file, new=True)
    made: list[dict[str, object]] = []
    for algorithm in (ED25519, ML_DSA_65) if hybrid else (ED25519,):
        key = PrivateKey.generate(algorithm)
        path = KeyStore(folder, [folder]).save(ROOT, key, passphrase)
        output.stopped_note = f"A root key may be in {str(folder)!r} already; nothing lists it."
        public = path.with_suffix(".pub")
        write_private(public, key.public_pem(), mode=_PUBLIC)
        made.append({"keyid": key.public.keyid, "algorithm": algorithm, "private_key": path, "public_key": public})

    def human() -> None:
        for entry in made:
            output.print(f"Made the root key {entry['keyid']} ({entry['algorithm']}): {entry['private_key']}")
            output.print(f"  its public half: {entry['public_key']}")
        output.say("Next: keep a second copy. The .pub file goes to whoever runs the issuer (`trust rotate --new`).")

    output.emit({"keys": made}, human)


@click.command()
@click.argument("file", metavar="FILE", type=_FILE)
@json_option
@pass_output
def review(output: Output, *, file: Path) -> None:
    """Show what the proposal in FILE would change, who has signed it, and who must."""
    from keyseat_issuer.trust.proposals import read_proposal

    proposal = read_proposal(file)
    output.emit(_facts(proposal), lambda: _show(output, proposal))


@click.command()
@click.argument("file", metavar="FILE", type=_FILE)
@click.option(
    "--key",
    "keys",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    required=True,
    help="File of a root key (.pem, or .uri of one in an HSM), or a folder of them. Repeatable.",
)
@click.option(
    "--present",
    metavar="TRUST",
    type=_FILE,
    help="The trust bundle in force, as you know it from elsewhere: the proposal must change that one.",
)
@click.option(
    "--instead-of",
    metavar="DIGEST",
    help="You have signed another proposal of this version: the digest of that one, which was dropped.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@passphrase_option
@json_option
@pass_output
def sign(
    output: Output,
    *,
    file: Path,
    keys: tuple[Path, ...],
    present: Path | None,
    instead_of: str | None,
    yes: bool,
    passphrase_file: str | None,
) -> None:
    """Sign the proposal in FILE with a root key, after showing what it changes.

    Needs no issuer and no network. The bundle that you saw last and the version that you signed are kept beside the
    key (trust-seen.json, trust-signed.json). A proposal that changes an older bundle is refused, for its list of
    changes would hide what happened since; so is another proposal of a version that you have signed.
    """
    from keyseat_issuer.trust.offline_signing import Seen, check_present, open_keys, require_instead, signed_instead
    from keyseat_issuer.trust.proposals import read_proposal, write_proposal

    proposal = read_proposal(file)
    seen = [Seen.beside(path) for path in keys]
    is_known = check_present(proposal, seen, present)
    other = signed_instead(proposal, seen)
    if not output.json:
        _show(output, proposal, whole_policy=not is_known)
        if other is not None:
            output.print(f"You have signed another version {other.version}. Against that one this proposal changes:")
            for line in change_lines(other.trust, proposal.offered):
                output.print(f"  {line}")
    require_instead(other, instead_of)
    for entry in seen:
        if entry.trust is not None and entry.trust.version > proposal.present.version:
            output.warn(
                f"version {entry.trust.version} was seen here before, and the proposal changes version"
                f" {proposal.present.version}: what happened since is in no list above"
            )
    if not is_known:
        output.warn(
            f"this key has signed nothing here before. Ask somebody you trust for the digest of version"
            f" {proposal.present.version} (`keyseat-issuer trust show`): {_facts(proposal)['present_digest']}"
        )
    output.confirm("Sign it?", "sign", yes=yes, consequence="Your signature stands for all that is listed above.")
    asked = passphrase_asker(output, passphrase_file)
    signed = proposal.sign(open_keys(proposal, keys, asked))
    write_proposal(file, signed)
    output.stopped_note = f"Your signature may be in {str(file)!r} already."
    for folder in seen:
        if (trouble := folder.remember(proposal)) is not None:
            output.warn(trouble)
    new = [key.keyid for key in signed.signed if key not in proposal.signed]

    def human() -> None:
        output.print(f"Signed with {', '.join(new)}: {file}")
        _show_signers(output, signed)

    output.emit(_facts(signed) | {"signed_now": new}, human)


@click.command()
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
@admin_options
@pass_output
def adopt(output: Output, *, files: tuple[Path, ...], access: Access) -> None:
    """Put a proposal into force that enough root keys have signed. Copies signed apart are given together."""
    from keyseat_issuer.trust.proposals import read_proposal

    proposals = [read_proposal(file) for file in files]
    admin = open_admin(output, access)
    trust = admin.adopt(proposals)
    lines = change_lines(proposals[0].present, trust)

    def human() -> None:
        output.print(f"The trust bundle is version {trust.version} now. What changed:")
        for line in lines:
            output.print(f"  {line}")
        output.say("Next: back up the issuer's home, and `keyseat-issuer trust export FILE` for your clients.")

    output.emit({"adopted": True, "trust_version": trust.version, "changes": lines}, human)


def _facts(proposal: "Proposal") -> dict[str, object]:
    from keyseat_issuer.ledger.audit.bundles import bundle_digest
    from keyseat_issuer.trust.proposals import in_words

    left = in_words(proposal.missing())
    return {
        "present_version": proposal.present.version,
        "present_digest": bundle_digest(proposal.present.data),
        "proposed_version": proposal.offered.version,
        "digest": proposal.digest,
        "changes": change_lines(proposal.present, proposal.offered),
        "signed": [key.keyid for key in proposal.signed],
        "missing": left,
        "complete": not left,
    }


def _show(output: Output, proposal: "Proposal", *, whole_policy: bool = False) -> None:
    from keyseat_issuer.cli.trust_options import key_rows, policy_lines, print_keys

    facts, offered = _facts(proposal), proposal.offered
    output.print(f"A proposal for the trust bundle of {proposal.present.vendor}", "bold")
    output.print(f"  it changes version {proposal.present.version}, {facts['present_digest']}")
    output.print(f"  it is {proposal.digest}")
    output.print()
    output.print("What changes:")
    for line in change_lines(proposal.present, offered):
        output.print(f"  {line}")
    output.print()
    output.print("All keys of the new version:")
    print_keys(output, key_rows(offered, None), now_utc(), places=False)
    for line in root_lines(offered):
        output.print(f"  {line}")
    for key in offered.root:
        if key in proposal.signed and key not in proposal.present.root:
            output.print(f"  {key.keyid} is new and has signed already: who made the proposal had it at hand")
    output.print()
    if whole_policy:
        output.print("The whole policy of the new version:")
        for name, value in policy_lines(offered.policy).items():
            output.print(f"  {name:<22}{value}")
        output.print()
    _show_signers(output, proposal)


def _show_signers(output: Output, proposal: "Proposal") -> None:
    from keyseat_issuer.trust.proposals import in_words

    left = in_words(proposal.missing())
    output.print(f"  signed:  {', '.join([key.keyid for key in proposal.signed]) or 'by nobody yet'}")
    for words in left:
        output.print(f"  missing: {words}")
    if not left:
        output.print("  All signatures are there: `keyseat-issuer trust adopt FILE` puts it into force.")
