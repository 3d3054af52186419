"""Checks that a face brings along to an act, to be made under its locks: whether who asks may still do it."""

from collections.abc import Callable

Guard = Callable[[], None]
"""Raises where whoever asks may not do it."""


def allow() -> None:
    """Refuse nothing: commands of the vendor's own people."""
