"""Where mail goes: SMTP by ``EMAIL_URL``, else nowhere: pages and commands say so, and how to go on without."""

import logging
import os
import threading
from collections.abc import Callable
from typing import NamedTuple

from django.core.mail import EmailMessage

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

URL_VARIABLE = "EMAIL_URL"
FROM_VARIABLE = "KEYSEAT_MAIL_FROM"
MAIL_THREAD = "keyseat-mail"
_NOWHERE = "django.core.mail.backends.dummy.EmailBackend"
_MOST_AT_ONCE = 16
_PLACES = threading.BoundedSemaphore(_MOST_AT_ONCE)
_log = logging.getLogger(__name__)


class MailSettings(NamedTuple):
    """Django's mail settings. ``sender`` is the address that mails come from."""

    sender: str
    backend: str = _NOWHERE
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    use_tls: bool = False
    use_ssl: bool = False


def mail_settings() -> MailSettings:
    """Return the mail settings that the environment asks for.

    Raises:
        KeyseatError: ``INVALID_INPUT``; the message never repeats the URL, which holds a password.
    """
    sender = os.environ.get(FROM_VARIABLE, "").strip() or "keyseat@localhost"
    if not sends_for_real():
        return MailSettings(sender)
    import environ  # noqa: PLC0415 - only where a URL is given

    try:
        found = environ.Env.email_url_config(os.environ[URL_VARIABLE].strip())
        return MailSettings(
            sender,
            backend=str(found["EMAIL_BACKEND"]),
            host=str(found["EMAIL_HOST"] or ""),
            port=int(found["EMAIL_PORT"] or 25),
            user=str(found["EMAIL_HOST_USER"] or ""),
            password=str(found["EMAIL_HOST_PASSWORD"] or ""),
            use_tls=bool(found.get("EMAIL_USE_TLS")),
            use_ssl=bool(found.get("EMAIL_USE_SSL")),
        )
    except (ValueError, LookupError, TypeError, AttributeError, environ.ImproperlyConfigured):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{URL_VARIABLE} cannot be read",
            next_step="Write smtp+tls://USER:PASSWORD@HOST:587 (or smtp+ssl://, smtp://).",
        ) from None


def send_later(message: EmailMessage) -> None:
    """Send a mail from a thread of its own; a failure is logged, without address and text.

    Pages do not wait for the mail server: a slow one would hold up every page and the sign-in of every program, and how
    long an answer takes, or that it fails, would tell who has an account.
    """
    if threading.current_thread().name == MAIL_THREAD:
        message.send()  # nobody waits for this thread
        return
    run_later(message.send)


def run_later(work: Callable[[], object]) -> bool:
    """Run what sends mail in a thread of its own, unless too many are under way: then it is logged, and false."""
    if not _PLACES.acquire(blocking=False):
        _log.error("a mail was not sent: too many are under way; is the mail server slow?")
        return False

    def run() -> None:
        try:
            work()
        except OSError as error:  # SMTP's errors are OSErrors
            _log.error("a mail was not sent: %s", type(error).__name__)
        finally:
            _PLACES.release()

    threading.Thread(target=run, name=MAIL_THREAD, daemon=True).start()
    return True


def sends_for_real() -> bool:
    """Return whether mails leave this machine."""
    return bool(os.environ.get(URL_VARIABLE, "").strip())
