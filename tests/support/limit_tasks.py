"""Guessing at the same instant as others (see ``races``)."""

from datetime import timedelta

from django.conf import settings

from keyseat_issuer.web import limits
from keyseat_shared.instants import parse_instant


def spend(_number: int, secret: str, now: str) -> bool:
    """Count one guess, of which five are allowed."""
    settings.SECRET_KEY = secret
    return limits.spend(limits.Limit("race", 5, timedelta(minutes=5)), "ada", parse_instant(now)).allowed
