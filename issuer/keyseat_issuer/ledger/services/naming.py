"""Names that people type: cleaned, checked, and "did you mean" where one is unknown."""

import difflib
from collections.abc import Iterable

from keyseat_issuer.ledger.models.organizations import MAX_NAME
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_MAX_SHOWN = 60


def clean_name(text: str, what: str) -> str:
    """Return a name with its spaces tidied: 1 to 200 printable characters.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    name = " ".join(text.split())
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise KeyseatError(
            ReasonCode.INVALID_INPUT, f"the name of {what} must have 1 to {MAX_NAME} printable characters"
        )
    return name


def shorten(text: str) -> str:
    """Return what somebody typed, short enough to be repeated in a message."""
    typed = text.strip()
    return typed if len(typed) <= _MAX_SHOWN else typed[: _MAX_SHOWN - 1] + "…"


def unknown(
    what: str,
    typed: str,
    known: Iterable[str],
    next_step: str,
    code: ReasonCode = ReasonCode.NOT_FOUND,
    *,
    within: str = "",
) -> KeyseatError:
    """Return the refusal of an unknown name; ``details["did_you_mean"]`` lists up to three that look like it.

    ``within`` names the place where it was looked for, where that is not everywhere.
    """
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(typed.strip().casefold(), by_folded, n=3, cutoff=0.6)
    meant = [by_folded[folded] for folded in close]
    hint = f". Did you mean {' or '.join(repr(name) for name in meant)}?" if meant else ""
    return KeyseatError(
        code,
        f"there is no {what} {shorten(typed)!r}{f' in {within!r}' if within else ''}{hint}",
        details={"did_you_mean": meant} if meant else {},
        next_step=next_step,
    )
