"""What allauth is told to do differently here."""

import base64
import time
from typing import Any
from urllib.parse import urlsplit

from allauth.account import app_settings as allauth_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context as current
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils.encoding import force_bytes

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.web import attempts
from keyseat_issuer.web.addresses import client_address, network
from keyseat_issuer.web.mail import send_later
from keyseat_issuer.web.models import User
from keyseat_issuer.web.origin import origin_of, site_of
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc, unused-ignore]
    """Accounts come from invitations, and addresses are written as the ledger writes them."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's signature
        """Sign-up is closed: accounts are made by invitation."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return what attempts are counted by, as our own limits do: one IPv6 subscriber has 2^64 addresses.

        allauth's own fails where a proxy's header is short.
        """
        return network(client_address(request)) or "unknown"

    def clean_email(self, email: str) -> str:
        """Return the address as accounts keep it, its domain in ASCII: people write ``bücher.example``."""
        try:
            return normalize_email(email)
        except KeyseatError:
            return email.strip().lower()  # nobody's

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write a mail now, and send it in the background."""
        request = current.request
        written = {"request": request, "email": email, **context, "current_site": site_of(request)}
        send_later(self.render_mail(template_prefix, email, written))

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link of a reset mail, on the origin that people know."""
        path: str = urlsplit(super().get_reset_password_from_key_url(key)).path
        return origin_of(self.request) + path

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:  # noqa: ANN401 - allauth's signature
        """Sign in, and count attempts, by the address as accounts keep it: two spellings get no attempts twice."""
        credentials["email"] = self.clean_email(credentials["email"])
        attempt = attempts.at_password(request, credentials["email"])
        found: AbstractBaseUser | None = super().authenticate(request, **credentials)
        if found is not None:
            attempt.succeeded()
        return found

    def is_reauthentication_required(self, *, app: str, **options: Any) -> bool:  # noqa: ANN401 - allauth's signature
        """Tell whether the password is asked for again: for our own acts not where it was given just now, to sign in.

        allauth counts only what was given to confirm something, and so it is for its pages of second factors.
        """
        request = current.request
        given = get_authentication_records(request, request.user)
        if app == "keyseat" and given and time.time() - given[-1]["at"] < allauth_settings.REAUTHENTICATION_TIMEOUT:
            return False
        required: bool = super().is_reauthentication_required(app=app, **options)
        return required

    def reauthenticate(self, user: User, password: str) -> bool:
        """Check the password of somebody who is signed in; their guesses do not lock the sign-in."""
        attempt = attempts.at_confirmation(self.request, user)
        right = user.check_password(password)
        if right:
            attempt.succeeded()
        return right


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc, unused-ignore]
    """TOTP seeds and recovery codes are encrypted: a copy of the database alone must not pass a second factor."""

    def encrypt(self, text: str) -> str:
        """Encrypt with the server's secret."""
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt with the server's secret, or one of those it replaced.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``. Anything but failing would let a known seed count.
        """
        try:
            return _fernet().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                "your second factor was set up under another secret of this server",
                cause=Cause.SECOND_FACTOR_UNREADABLE,
            ) from None


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(_key(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key(secret: str | bytes) -> bytes:
    derived = HKDF(SHA256(), 32, salt=None, info=b"keyseat/second-factor").derive(force_bytes(secret))
    return base64.urlsafe_b64encode(derived)
