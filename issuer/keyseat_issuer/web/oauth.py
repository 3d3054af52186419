"""The endpoints clients call without a browser: ``/oauth/device``, ``/oauth/token``, ``/oauth/revoke``.

Errors are OAuth's own (RFC 6749, section 5.2, and RFC 8628, section 3.5). Cookies are never looked at.
"""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from keyseat_issuer.web import device, limits, tokens
from keyseat_issuer.web.addresses import client_address, network, wide_network
from keyseat_issuer.web.origin import origin_of

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
NEW_REQUESTS = limits.Limit("device-request", 30, timedelta(minutes=10))
"""Device requests from one network address: each is a row, and nobody has signed in yet."""
NEW_REQUESTS_WIDE = limits.Limit("device-request-wide", 150, timedelta(minutes=10))
"""From one IPv6 /48."""

_FORM = "application/x-www-form-urlencoded"


@csrf_exempt
@require_POST
def device_authorization(request: HttpRequest) -> HttpResponse:
    """Begin a sign-in (RFC 8628, section 3.1); ``device_name`` is ours: what the user is shown as the machine."""
    client_id = request.POST.get("client_id", "")
    scopes = request.POST.get("scope", "").split()
    refusal = _check_form(request) or _check_client(client_id)
    if refusal is not None:
        return refusal
    if not set(scopes) <= set(device.SCOPES):
        return _error("invalid_scope", f"known scopes are: {' '.join(device.SCOPES)}")
    now = timezone.now()
    address = client_address(request)
    wide = wide_network(address)
    counts = [(NEW_REQUESTS, network(address)), *([(NEW_REQUESTS_WIDE, wide)] if wide else [])]
    spent = limits.spend_all(counts, now)
    if not spent.allowed:
        return _too_many(spent.retry_after)
    started = device.start(
        client_id=client_id,
        scopes=scopes,
        device_name=request.POST.get("device_name", ""),
        address=address or None,
        now=now,
    )
    page = origin_of(request) + reverse("device")
    return _answer(
        {
            "device_code": started.device_code,
            "user_code": started.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?{urlencode({'user_code': started.user_code})}",
            "expires_in": started.expires_in,
            "interval": started.interval,
        }
    )


@csrf_exempt
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """Give tokens for an approved device code or for a refresh token (RFC 8628, section 3.4; RFC 6749, section 6)."""
    grant = request.POST.get("grant_type", "")
    client_id = request.POST.get("client_id", "")
    refusal = _check_form(request)
    if refusal is None and not grant:
        refusal = _error("invalid_request", "grant_type is missing")
    refusal = refusal or _check_client(client_id)
    if refusal is not None:
        return refusal
    if grant == DEVICE_GRANT:
        return _from_device_code(request.POST.get("device_code", ""), client_id)
    if grant == "refresh_token":
        return _from_refresh_token(request.POST.get("refresh_token", ""), client_id)
    return _error("unsupported_grant_type", f"known grants are {DEVICE_GRANT} and refresh_token")


@csrf_exempt
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """End a client's sign-in (RFC 7009): with either of its tokens, both stop working."""
    client_id = request.POST.get("client_id", "")
    refusal = _check_form(request) or _check_client(client_id)
    if refusal is not None:
        return refusal
    value = request.POST.get("token", "")
    if not value:
        return _error("invalid_request", "token is missing")
    tokens.revoke(value, client_id, timezone.now())
    return _answer({})


def _from_device_code(device_code: str, client_id: str) -> HttpResponse:
    if not device_code:
        return _error("invalid_request", "device_code is missing")
    answer = device.poll(device_code, client_id, timezone.now())
    if answer.pair is None:
        return _error(answer.error or "invalid_grant")
    return _answer(_token_answer(answer.pair))


def _from_refresh_token(refresh_token: str, client_id: str) -> HttpResponse:
    if not refresh_token:
        return _error("invalid_request", "refresh_token is missing")
    pair = tokens.refresh(refresh_token, client_id, timezone.now())
    if pair is None:
        return _error("invalid_grant", "sign in again")
    return _answer(_token_answer(pair))


def _token_answer(pair: tokens.TokenPair) -> dict[str, object]:
    return {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
        "scope": pair.scope,
    }


def _check_form(request: HttpRequest) -> HttpResponse | None:
    # Browsers say so where a page makes them call: any page could else use up the codes of its visitors' network.
    if "Origin" in request.headers:
        return _error("invalid_request", "this is for programs, not for pages in a browser")
    if request.content_type != _FORM:
        return _error("invalid_request", f"the body must be {_FORM}")
    # RFC 6749, section 3.1: parameters must not be included more than once.
    if any(len(values) > 1 for _, values in request.POST.lists()):
        return _error("invalid_request", "a parameter stands twice")
    return None


def _check_client(client_id: str) -> HttpResponse | None:
    if client_id in device.CLIENTS:
        return None
    return _error("invalid_client", "client_id is unknown", HTTPStatus.UNAUTHORIZED)


def _too_many(seconds: int) -> HttpResponse:
    response = _error("slow_down", "too many requests from this network", HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["Retry-After"] = str(seconds)
    return response


def _error(code: str, description: str = "", status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> HttpResponse:
    return _answer({"error": code} | ({"error_description": description} if description else {}), status)


def _answer(data: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    # RFC 6749, section 5.1, asks for both.
    return JsonResponse(data, status=status, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})
