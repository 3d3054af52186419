"""The server's secret: signs sessions and reset links, keys the hashes of user codes, encrypts TOTP seeds."""

import os
import secrets
from pathlib import Path

from keyseat_issuer.home import issuer_home, make_private_folder, write_private
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

VARIABLE = "KEYSEAT_SECRET_KEY"
OLD_VARIABLE = "KEYSEAT_OLD_SECRET_KEYS"
FILE = "web-secret"
_LEAST = 50
"""Characters below which Django's own check (security.W009) calls a secret weak."""


def read_secret() -> str:
    """Return the secret from ``KEYSEAT_SECRET_KEY`` or the issuer's home; empty where there is none yet.

    Servers on several machines must share one: a session made by one is else unknown to the others.

    Raises:
        KeyseatError: ``UNREADABLE``, or ``INVALID_INPUT`` for one too short to be a secret.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        path = _path()
        try:
            named = path.read_text("ascii").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError):
            raise KeyseatError(ReasonCode.UNREADABLE, f"cannot read the server's secret {str(path)!r}") from None
    if len(named) < _LEAST:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"the server's secret has fewer than {_LEAST} characters",
            next_step=f"Set {VARIABLE} to {_LEAST} or more random characters, or unset it to have one made.",
        )
    return named


def read_old_secrets() -> list[str]:
    """Return the secrets that the present one replaced: what they signed or encrypted still counts."""
    return os.environ.get(OLD_VARIABLE, "").split()


def ensure_secret() -> None:
    """Make the secret in the issuer's home where there is none.

    Raises:
        KeyseatError: ``UNREADABLE`` where it cannot be written.
    """
    if read_secret():
        return
    path = _path()
    make_private_folder(path.parent)
    write_private(path, secrets.token_urlsafe(_LEAST).encode() + b"\n")


def _path() -> Path:
    return issuer_home() / FILE
