"""The tables of the browser side."""

from keyseat_issuer.web.models.accounts import User, UserManager
from keyseat_issuer.web.models.grants import ClientSignIn, Decision, DeviceAuthorization, TokenKind, UserToken
from keyseat_issuer.web.models.limits import RateWindow

__all__ = [
    "ClientSignIn",
    "Decision",
    "DeviceAuthorization",
    "RateWindow",
    "TokenKind",
    "User",
    "UserManager",
    "UserToken",
]
