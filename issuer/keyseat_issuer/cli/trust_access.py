"""The way of a command to the root keys: its options, the passphrases, and a change that waits for signatures."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keyseat_issuer.cli.output import Output, json_option
from keyseat_issuer.cli.passphrase import passphrase_asker, passphrase_option, read_passphrase, warn_of_exposed_keys
from keyseat_issuer.home import issuer_home, load_trust
from keyseat_shared.instants import now_utc
from keyseat_shared.trust import TrustBundle

if TYPE_CHECKING:
    from keyseat_issuer.keys.roots import RootPassphrases
    from keyseat_issuer.trust.admin import TrustAdmin
    from keyseat_shared.keys import PublicKey

# What is asked after a passphrase may come too late: the change is made then.
_MAY_BE_DONE = "The change may be on record: `keyseat-issuer audit list` tells."
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Access(NamedTuple):
    """Where root keys and passphrases are, and where a change goes that lacks signatures."""

    passphrase_file: str | None
    root_folders: tuple[Path, ...]
    root_passphrase_files: tuple[str, ...]
    proposal: Path | None


def admin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json`` and the options of ``Access``, which it gets as ``access``."""

    @functools.wraps(command)
    def gathered(
        *args: Any,  # noqa: ANN401 - whatever the command takes
        passphrase_file: str | None,
        root_folders: tuple[Path, ...],
        root_passphrase_files: tuple[str, ...],
        proposal: Path | None,
        **options: Any,  # noqa: ANN401 - as above
    ) -> Any:  # noqa: ANN401 - as above
        access = Access(passphrase_file, root_folders, root_passphrase_files, proposal)
        return command(*args, access=access, **options)

    folders = click.option(
        "--root-keys",
        "root_folders",
        metavar="FOLDER",
        type=_FOLDER,
        multiple=True,
        envvar="KEYSEAT_ROOT_KEYS",
        show_envvar=True,
        help="Folder with root keys that you keep away from the issuer's home. Repeatable.",
    )
    passphrases = click.option(
        "--root-passphrase-file",
        "root_passphrase_files",
        metavar="FILE",
        multiple=True,
        help="File with the passphrase of a root key that has its own. Repeatable: each key is opened by one of them.",
    )
    proposal = click.option(
        "--proposal",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Where root keys are missing, write the change to FILE, to be signed with `trust sign`.",
    )
    return passphrase_option(folders(passphrases(proposal(json_option(gathered)))))


def open_admin(output: Output, access: Access) -> "TrustAdmin":
    """Return the administration of the issuer's home, dated now; it asks for a passphrase when a key needs it."""
    from keyseat_issuer.ledger.database import require_ready
    from keyseat_issuer.trust.admin import TrustAdmin

    trust = load_trust()  # first: where there is no issuer at all, say that
    require_ready()
    from keyseat_issuer.ledger.audit.log import cli_actor

    warn_of_exposed_keys(output, issuer_home(), access.root_folders)
    warn_of_weak_root(output, trust)
    ask = passphrase_asker(output, access.passphrase_file)

    def asked() -> str:
        passphrase = ask()
        output.stopped_note = _MAY_BE_DONE
        return passphrase

    return TrustAdmin(
        issuer_home(),
        asked,
        actor=cli_actor(),
        now=now_utc(),
        root_folders=access.root_folders,
        root_passphrases=_root_passphrases(output, access, asked, has_several=len(trust.root) > 1),
        proposal=access.proposal,
    )


def _root_passphrases(
    output: Output, access: Access, asked: Callable[[], str], *, has_several: bool
) -> "RootPassphrases":
    """Return the passphrases to try on a root key: of files, or that of the issuer's keys; then what a person types.

    Several root keys have several holders, so at a terminal each is asked for by its id.
    """
    readers = [passphrase_asker(output, file) for file in access.root_passphrase_files]
    if not readers and not (has_several and access.passphrase_file is None and sys.stdin.isatty()):
        readers = [asked]

    def passphrases(key: "PublicKey") -> Iterator[str]:
        for read in readers:
            yield read()
        if has_several and sys.stdin.isatty():
            typed = read_passphrase(output, None, what=f"Passphrase of the root key {key.keyid}")
            output.stopped_note = _MAY_BE_DONE
            yield typed

    return passphrases


def warn_of_weak_root(output: Output, trust: TrustBundle) -> None:
    """Warn of a hybrid bundle that one broken algorithm replaces, as ``init --hybrid`` once made them."""
    for algorithm in trust.algorithms_without_root():
        output.warn(
            f"licences need {algorithm} signatures, but the root has no {algorithm} key: whoever breaks the other"
            " algorithm can replace the trust bundle. `keyseat-issuer trust rotate --hybrid` adds one."
        )


def tell_pending(output: Output, admin: "TrustAdmin", data: dict[str, object]) -> bool:
    """Tell of a change that waits for signatures, where it came to that. ``data`` is what the command has to say."""
    from keyseat_issuer.trust.proposals import in_words

    pending = admin.pending
    if pending is None:
        return False
    signed = [key.keyid for key in pending.proposal.signed]
    left = in_words(pending.proposal.missing())

    def human() -> None:
        output.print(f"Nothing is in force yet: the change to version {pending.version} waits for signatures.", "bold")
        output.print(f"  proposal: {pending.path}")
        output.print(f"  digest:   {pending.proposal.digest}")
        output.print(f"  signed:   {', '.join(signed) or 'by nobody yet'}")
        for words in left:
            output.print(f"  missing:  {words}")
        output.say("Next: carry the file to whoever holds these keys, who sign it with")
        output.say("`keyseat-issuer trust sign FILE --key ROOT.pem`; then `keyseat-issuer trust adopt FILE` here.")

    output.emit(
        data
        | {"adopted": False, "proposal": pending.path, "digest": pending.proposal.digest}
        | {"proposed_version": pending.version, "signed": signed, "missing": left},
        human,
    )
    return True
