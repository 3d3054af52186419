"""The network address a request comes from, as far as we are told whom to believe."""

from allauth.account.adapter import get_adapter
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the client's address; ``X-Forwarded-For`` counts only for the proxies of ``KEYSEAT_TRUSTED_PROXIES``.

    Empty where the server cannot know it, as over a Unix socket without a trusted proxy.
    """
    try:
        return str(get_adapter().get_client_ip(request))
    except PermissionDenied:
        return ""
