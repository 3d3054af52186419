"""What the `offline` commands share: their terms, where files go, how a machine ID is shown."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyseat_issuer.cli.output import Output, Styled
from keyseat_issuer.cli.passphrase import passphrase_asker, warn_of_exposed_keys
from keyseat_issuer.home import issuer_home, load_trust
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Grade
from keyseat_shared.grades import LABELS
from keyseat_shared.instants import now_utc
from keyseat_shared.machine_id import MachineID

if TYPE_CHECKING:
    from keyseat_issuer.ledger.offline.files import Destination
    from keyseat_issuer.ledger.offline.values import Terms

FOLDER_OF_LICENSES = "~/.keyseat/license/"
_SOON = 30
_VERY_SOON = 7


def out_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--out``."""
    return click.option(
        "--out", metavar="FILE|DIR", help="Where the file goes. Default: this folder. Nothing is overwritten."
    )(command)


def open_ledger() -> tuple[str, datetime]:
    """Open the ledger and read the clock, once; return who acts, and when.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    from keyseat_issuer.ledger.database import require_ready

    require_ready()
    from keyseat_issuer.ledger.audit.log import cli_actor

    return cli_actor(), now_utc()


def open_terms() -> "Terms":
    """Load the trust bundle and open the ledger; nothing is signed with these terms.

    Raises:
        KeyseatError: ``UNREADABLE``, ``TRUST_INVALID``, ``LEDGER_UNAVAILABLE``.
    """
    home = issuer_home()
    load_trust(home)
    actor, now = open_ledger()
    from keyseat_issuer.ledger.offline.values import Terms
    from keyseat_issuer.trust.history import current_trust

    # Nothing irreversible under rules that a change, cut short by a crash, has already replaced on record.
    trust = current_trust(home)

    return Terms(trust, actor, now)


def with_signer(output: Output, terms: "Terms", passphrase_file: str | None) -> "Terms":
    """Unlock the signing keys, and read clock and rules again: somebody may have thought about a question for an hour.

    A policy that was set meanwhile holds, and a key that was revoked meanwhile signs nothing.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE``, ``TRUST_INVALID``, ``LEDGER_UNAVAILABLE``.
    """
    from keyseat_issuer.keys.signing import open_license_signer
    from keyseat_issuer.trust.history import current_trust

    home = issuer_home()
    warn_of_exposed_keys(output, home)
    asked = passphrase_asker(output, passphrase_file)
    trust = current_trust(home)
    while True:
        signer = open_license_signer(home, trust, asked, now_utc())
        newest = current_trust(home)  # the passphrase may have been such a question
        if newest.version == trust.version:
            return replace(terms, trust=trust, signer=signer, now=now_utc())
        trust = newest


def destination_for(out: str | None, *, must_be_folder: bool = False, may_exist: bool = False) -> "Destination":
    """Find out that files can be written where ``--out`` says.

    Raises:
        KeyseatError: ``UNREADABLE``, ``ALREADY_EXISTS``.
    """
    from keyseat_issuer.ledger.offline.files import check_destination

    path = None if out is None else Path(out).expanduser()
    separators = tuple(filter(None, (os.sep, os.altsep)))
    # `new/` is a folder that does not exist, not a file called `new`.
    if out is not None and out.endswith(separators) and not must_be_folder and path is not None and not path.is_dir():
        raise KeyseatError(ReasonCode.UNREADABLE, f"there is no folder {out!r}", next_step="Make it, or name another.")
    return check_destination(path, must_be_folder=must_be_folder, may_exist=may_exist)


def show_machine(output: Output, machine: MachineID) -> None:
    """Show what a person can compare with the customer's ID, and how much it holds."""
    output.say(f"  {'machine ID':<13} {machine.short}… ({machine})")
    style = {Grade.STRONG: "green", Grade.FAIR: None, Grade.WEAK: "red"}[machine.grade]
    output.say(f"  {'grade':<13} {machine.grade}: {machine.grade_reasons[0]}", style)
    output.say(f"  {'evidence':<13} {', '.join(LABELS[kind] for kind in machine.evidence)}")


def days_left(until: datetime, now: datetime) -> str:
    """Return how long it is until an instant, in words."""
    if until <= now:
        return "ended"
    days = (until - now) // timedelta(days=1)
    return "less than a day" if days == 0 else f"{days} day{'s' if days > 1 else ''}"


def days_cell(until: datetime, now: datetime) -> Styled:
    """Return the same as a table cell, coloured as the end comes closer."""
    left = until - now
    if left <= timedelta(0):
        style = "dim"
    elif left <= timedelta(days=_VERY_SOON):
        style = "red"
    else:
        style = "yellow" if left <= timedelta(days=_SOON) else ""
    return Styled(days_left(until, now), style)
