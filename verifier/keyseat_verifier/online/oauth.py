"""Signing in without a browser on this machine: the device authorization grant (RFC 8628), refresh, sign-out."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.strictjson import loads_object
from keyseat_verifier.online.transport import Answer, Deadline, Transport, UnreachableError

CLIENT = "keyseat"
CALL_SECONDS = 15.0
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_MAX_SECONDS = 86_400 * 365
_SLOWER = 5.0
_PATIENT = (408, 429, 500, 502, 503, 504)
_OK = 200


class Granted(NamedTuple):
    """Tokens as the server gives them; ``expires_in`` is the access token's, in seconds. ``repr`` shows no token."""

    access_token: str
    refresh_token: str
    expires_in: int

    def __repr__(self) -> str:
        return f"<Granted for {self.expires_in} s>"


class DeviceCode(NamedTuple):
    """What a person needs to sign a machine in: the page and the code, good for ``expires_in`` seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int

    def __repr__(self) -> str:
        return f"<DeviceCode at {self.verification_uri}>"


class OAuthError(KeyseatError):
    """A refusal in OAuth's own words (RFC 6749, section 5.2): ``error`` is the word."""

    def __init__(self, error: str, status: int, retry_after: float) -> None:
        """Choose code and next step by the word."""
        self.error = error
        self.retry_after = retry_after
        self.is_passing = error in {"slow_down", "temporarily_unavailable"} or status in _PATIENT
        refused = {"access_denied", "expired_token", "invalid_grant"}
        super().__init__(
            ReasonCode.NOT_ALLOWED if error in refused else ReasonCode.SERVER_UNREACHABLE,
            _WORDS.get(error, f"the server refused to sign in: {error}"),
            details={"error": error},
            next_step=_NEXT.get(error, "Try again later; if it stays, tell the operator of the licence server."),
        )


_WORDS = {
    "access_denied": "the sign-in was refused in the browser",
    "expired_token": "nobody approved the code in time",
    "invalid_grant": "the code does not count any more",
    "slow_down": "too many sign-ins were begun from this network",
}
_NEXT = dict.fromkeys(("access_denied", "expired_token", "invalid_grant"), "Run `keyseat login` again.")


def begin(transport: Transport, device_name: str) -> DeviceCode:
    """Ask for a code; ``device_name`` is what the person is shown as the machine that asks.

    Raises:
        KeyseatError: ``SERVER_UNREACHABLE``, or what the server refuses with.
    """
    value = _post(transport, "/oauth/device", {"client_id": CLIENT, "device_name": device_name}, Deadline(CALL_SECONDS))
    try:
        uri = fields.text(value.get("verification_uri"), "verification_uri")
        return DeviceCode(
            fields.text(value.get("device_code"), "device_code"),
            fields.text(value.get("user_code"), "user_code"),
            uri,
            fields.text(value.get("verification_uri_complete", uri), "verification_uri_complete"),
            fields.whole(value.get("expires_in"), "expires_in", 1, _MAX_SECONDS),
            fields.whole(value.get("interval", 5), "interval", 0, 3600),
        )
    except MalformedError as error:
        raise _strange(transport, error.message) from None


def wait_for_approval(transport: Transport, code: DeviceCode, pause: Callable[[float], object] = time.sleep) -> Granted:
    """Poll until somebody has approved or refused the code, at the server's pace (RFC 8628, section 3.5).

    Raises:
        OAuthError: refused, or not approved in time.
        KeyseatError: ``SERVER_UNREACHABLE`` where the server was away until the code ended.
    """
    until = Deadline(code.expires_in)
    interval = max(1.0, float(code.interval))
    away: UnreachableError | None = None
    form = {"grant_type": _DEVICE_GRANT, "client_id": CLIENT, "device_code": code.device_code}
    while True:
        pause(interval)
        if until.left <= 0:
            raise away or OAuthError("expired_token", 400, 0)
        try:
            return _tokens(transport, _post(transport, "/oauth/token", form, Deadline(CALL_SECONDS)))
        except OAuthError as error:
            away = None
            if error.error == "slow_down":
                interval += _SLOWER
            elif error.error != "authorization_pending" and not error.is_passing:
                raise
            interval = max(interval, error.retry_after)
        except UnreachableError as error:
            # The network may be back before the code ends.
            if error.is_lasting:
                raise
            away = error
            interval += _SLOWER


def refresh(transport: Transport, refresh_token: str, deadline: Deadline) -> Granted:
    """Exchange a refresh token for a new pair.

    Raises:
        OAuthError: ``error == "invalid_grant"`` where the sign-in has ended.
        KeyseatError: ``SERVER_UNREACHABLE``.
    """
    form = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": refresh_token}
    return _tokens(transport, _post(transport, "/oauth/token", form, deadline))


def revoke(transport: Transport, token: str) -> None:
    """Sign out on the server (RFC 7009).

    Raises:
        KeyseatError: ``SERVER_UNREACHABLE``, or what the server refuses with.
    """
    _post(transport, "/oauth/revoke", {"client_id": CLIENT, "token": token}, Deadline(CALL_SECONDS))


def _post(transport: Transport, path: str, form: Mapping[str, str], deadline: Deadline) -> dict[str, object]:
    answer = transport.request("POST", path, deadline, body=urlencode(form).encode(), headers=_FORM)
    try:
        value = loads_object(answer.body)
    except MalformedError:
        if answer.status in _PATIENT:
            raise OAuthError("temporarily_unavailable", answer.status, _seconds(answer)) from None
        raise _strange(transport, f"status {answer.status}") from None
    if answer.status == _OK:
        return value
    error = value.get("error")
    word = error if type(error) is str and error.isascii() and error.isprintable() else f"status {answer.status}"
    raise OAuthError(word[:60], answer.status, _seconds(answer))


def _seconds(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return float(min(int(text), 3600)) if text.isdecimal() and text.isascii() and len(text) < 7 else 0.0  # noqa: PLR2004 - a week has six digits


def _tokens(transport: Transport, value: dict[str, object]) -> Granted:
    try:
        return Granted(
            fields.text(value.get("access_token"), "access_token"),
            fields.text(value.get("refresh_token"), "refresh_token"),
            fields.whole(value.get("expires_in"), "expires_in", 1, _MAX_SECONDS),
        )
    except MalformedError as error:
        raise _strange(transport, error.message) from None


def _strange(transport: Transport, what: str) -> UnreachableError:
    return UnreachableError(
        f"what answers at {transport.url} is not a keyseat server ({what})",
        next_step="Check the server's address, and whether a proxy or a network's sign-in page stands between.",
        is_lasting=True,
    )
