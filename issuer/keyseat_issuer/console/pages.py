"""What the acts of the console answer with: a page that asks first, and the way back to the product's page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from keyseat_issuer.console.visits import Visit


def ask(request: HttpRequest, context: dict[str, Any], **asked: object) -> HttpResponse:
    """Show what an act means, and post ``fields`` again with ``confirmed`` if it is wanted.

    ``asked``: ``title``, ``meaning``, ``lines``, ``fields`` (pairs) and ``verb``.
    """
    return render(request, "console/confirm.html", context | asked)


def back(visit: Visit, product: str, section: str) -> HttpResponse:
    """Go to a section of the product's page."""
    response = redirect("console_product", visit.organization.pk, product)
    response["Location"] += f"#{section}"
    return response
