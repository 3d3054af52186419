"""Passphrases of keys: given, or asked for where a key turns out to need one."""

from collections.abc import Callable

Passphrase = str | Callable[[], str]
"""A passphrase, or how to ask for it: asked once, and only where a file needs it."""


def ask(passphrase: Passphrase) -> str:
    """Return the passphrase, asking for it where it is a question."""
    return passphrase if isinstance(passphrase, str) else passphrase()
