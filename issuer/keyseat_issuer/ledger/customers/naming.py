"""Names that people type: cleaned, checked, and "did you mean" where one is unknown."""

import difflib
from collections.abc import Iterable

from keyseat_issuer.ledger.models.organizations import MAX_NAME
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.fields import is_plain

_MAX_SHOWN = 60
_MOST_MEANT = 3
_MIN_PART = 3
"""Characters of a part of a name that names are looked up by."""


def clean_name(text: str, what: str) -> str:
    """Return a name with its spaces tidied: 1 to 200 printable characters.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    name = " ".join(text.split())
    if not 0 < len(name) <= MAX_NAME or not is_plain(name):
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
    next_step: str | None = None,
    code: ReasonCode = ReasonCode.NOT_FOUND,
    *,
    within: str = "",
    cause: str = "",
) -> KeyseatError:
    """Return the refusal of an unknown name; ``details["did_you_mean"]`` lists up to three like it or with it in them.

    ``within`` names the place where it was looked for, where that is not everywhere.
    """
    by_folded = {name.casefold(): name for name in known}
    wanted = " ".join(typed.split()).casefold()
    close = difflib.get_close_matches(wanted, by_folded, n=_MOST_MEANT, cutoff=0.6)
    if len(wanted) >= _MIN_PART:
        # Half a name is unlike the whole one to `difflib`.
        close += [folded for folded in by_folded if wanted in folded and folded not in close]
    meant = [by_folded[folded] for folded in close[:_MOST_MEANT]]
    hint = f". Did you mean {' or '.join(repr(name) for name in meant)}?" if meant else ""
    return KeyseatError(
        code,
        f"there is no {what} {shorten(typed)!r}{f' in {within!r}' if within else ''}{hint}",
        details={"did_you_mean": meant} if meant else {},
        next_step=next_step,
        cause=cause,
    )
