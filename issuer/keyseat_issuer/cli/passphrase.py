"""The passphrase of the key files: from a prompt or a file, never from the command line, where `ps` shows it."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from keyseat_issuer.cli.output import Output
from keyseat_issuer.home import exposed_files
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

PASSPHRASE_VARIABLE = "KEYSEAT_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
MIN_LENGTH = 12
"""Fewest characters of a new passphrase. At 0.4 s and 128 MiB a guess, 12 random lower-case letters
(56 bits) cost an attacker about 10^9 processor years; a stolen backup can be guessed at for ever."""

_MAX_LINE = 4096
"""Bytes of a passphrase in a file."""


def passphrase_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--passphrase-file``, passed on as ``passphrase_file``."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        envvar=PASSPHRASE_VARIABLE,
        show_envvar=True,
        help="File whose first line is the passphrase of the keys; without it you are asked.",
    )(command)


def warn_of_exposed_keys(output: Output, home: Path, root_folders: Sequence[Path] = ()) -> None:
    """Warn of key files that others may read. They are encrypted, so that work goes on."""
    from keyseat_issuer.keys.store import KeyStore

    for path in KeyStore(home, root_folders).exposed():
        output.warn(f"others can read the key file {str(path)!r}; run `chmod 600` on it")


def warn_of_exposed_files(output: Output, home: Path) -> None:
    """Warn of everything in the home that others may read and should not: keys, ledger, secret, backups of them."""
    for path in exposed_files(home):
        output.warn(f"others can read {str(path)!r}; run `chmod 600` on it, or `chmod 700` on the folder")


def passphrase_asker(output: Output, passphrase_file: str | None, *, new: bool = False) -> Callable[[], str]:
    """Return a function that gets the passphrase when a key first needs it, and remembers it.

    The function raises ``KEY_UNAVAILABLE`` where there is neither a file nor a terminal, and
    ``INVALID_INPUT`` for a ``new`` passphrase that is too short; one in a file is warned of.
    """
    answers: list[str] = []

    def ask() -> str:
        if not answers:
            answers.append(read_passphrase(output, passphrase_file, new=new))
        return answers[0]

    return ask


def read_passphrase(output: Output, passphrase_file: str | None, *, new: bool = False, what: str = "Passphrase") -> str:
    """Get the passphrase now: from the file, else from a hidden prompt (asked twice when ``new``) that says ``what``.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE`` or ``INVALID_INPUT``.
    """
    if passphrase_file is not None:
        passphrase = _from_file(output, Path(passphrase_file).expanduser())
    elif sys.stdin.isatty():
        if new:
            output.say(f"Choose a passphrase of at least {MIN_LENGTH} characters for the keys. Nobody can reset it.")
        passphrase = _typed(what, new=new)
    else:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            "the keys need their passphrase, and there is no terminal to ask at",
            next_step=f"Pass --passphrase-file FILE, or set {PASSPHRASE_VARIABLE}.",
        )
    if new and len(passphrase) < MIN_LENGTH:
        _tell_short(output, passphrase, is_typed=passphrase_file is None)
    return passphrase


def _typed(what: str, *, new: bool) -> str:
    try:
        typed = str(
            click.prompt(what, hide_input=True, confirmation_prompt="Again, to be sure" if new else False, err=True)
        )
        typed.encode()  # lone surrogates stand for bytes that are no text (PEP 383)
    except UnicodeError:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the passphrase that was typed is not text in this terminal's encoding",
            next_step="Type it in UTF-8, under a UTF-8 locale (LANG=C.UTF-8).",
        ) from None
    return typed


def _tell_short(output: Output, passphrase: str, *, is_typed: bool) -> None:
    """Refuse a short passphrase that a person typed, who can type another; warn of one that a script's file holds."""
    found = f"the passphrase has {len(passphrase)} characters; use at least {MIN_LENGTH}"
    advice = "Four or five random words are easy to keep and hard to guess."
    if is_typed:
        raise KeyseatError(ReasonCode.INVALID_INPUT, found, next_step=advice)
    output.warn(f"{found}. {advice}")


def _from_file(output: Output, path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            line = file.read(_MAX_LINE + 2).split(b"\n", 1)[0].removesuffix(b"\r")
    except OSError as error:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"cannot read the passphrase file {str(path)!r}: {error.strerror}",
            next_step="Check that it exists and that you may read it.",
        ) from None
    if os.name == "posix" and mode & 0o077:
        output.warn(f"others can read the passphrase file {str(path)!r}; run `chmod 600` on it")
    if len(line) > _MAX_LINE:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"the first line of the passphrase file {str(path)!r} is longer than {_MAX_LINE} bytes",
            next_step="Name the file whose first line is the passphrase.",
        )
    try:
        passphrase = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"the first line of the passphrase file {str(path)!r} is not UTF-8 text",
            next_step="Save the file as UTF-8 (not UTF-16, as some editors do by themselves).",
        ) from None
    if not passphrase:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"the first line of the passphrase file {str(path)!r} is empty",
            next_step="Put the passphrase on its first line.",
        )
    return passphrase
