"""Tests tell stories: their acts take place when they say, not now, and no second clock has a word in them."""

import contextlib

_ALL = contextlib.ExitStack()


def begin() -> None:
    """Let the ledger believe every instant, until this process ends."""
    from keyseat_issuer.ledger.audit.ledger_time import story_time  # noqa: PLC0415 - loads Django

    _ALL.enter_context(story_time())
