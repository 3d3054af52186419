"""Renewing a sign-in at the same instant as others, and dying while it is done (see ``races``)."""

import os
import signal

from django.db import transaction

from keyseat_issuer.web import tokens
from keyseat_shared.instants import parse_instant


def refresh(_number: int, token: str, now: str) -> list[object] | None:
    """Exchange a refresh token."""
    pair = tokens.refresh(token, "keyseat", parse_instant(now))
    return None if pair is None else list(pair)


def die(token: str, now: str, moment: str) -> None:
    """Exchange a refresh token, and be killed before its transaction ends or before anybody is answered."""
    with transaction.atomic():
        tokens.refresh(token, "keyseat", parse_instant(now))
        if moment == "before_commit":
            os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
