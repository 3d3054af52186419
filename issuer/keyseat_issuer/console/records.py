"""The audit log of an organisation: who did what and when, refusals included."""

import json
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode

from keyseat_issuer.console.templatetags.console import second
from keyseat_issuer.console.visits import Visit, common, page
from keyseat_issuer.ledger.audit.listing import newest_events, shown_actor
from keyseat_issuer.ledger.models import AuditEvent
from keyseat_shared.instants import parse_instant

ROWS = 50
"""Events that one page shows."""
KINDS = {
    "": "everything",
    "seat.": "seats",
    "session.": "sessions",
    "machine.": "machines",
    "offline.": "offline licences",
    "member.": "members",
    "invitation.": "invitations",
    "ownership.": "ownership",
    "api-key.": "API keys",
    "client.": "sign-ins of programs",
    "subscription.": "subscriptions",
    "organization.": "the organisation",
}
"""What the actions begin with, as people say it."""
_HIGHEST = 2**62
_LONGEST = 400


class Shown(NamedTuple):
    """An event as people read it; ``details`` are pairs of names and texts."""

    row: AuditEvent
    actor: str
    details: list[tuple[str, str]]


@page("console_audit", "GET")
def audit_page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the newest events, or those before the one that the address names by ``before``."""
    kind = request.GET.get("action", "").strip()[:64]
    search = request.GET.get("q", "").strip()[:_LONGEST].replace("\0", "")
    rows, following = newest_events(
        visit.organization, most=ROWS, before=_before(request), action=kind.replace("\0", ""), subject=search
    )
    filters = {name: value for name, value in (("action", kind), ("q", search)) if value}
    context = common(visit, "audit") | {
        "kinds": KINDS if kind in KINDS else KINDS | {kind: kind},
        "kind": kind,
        "search": search,
        "events": [Shown(row, _actor(row.actor), _details(row.details)) for row in rows],
        "older": urlencode(filters | {"before": following}) if following else "",
        "newest": urlencode(filters) if "before" in request.GET else None,
    }
    return render(request, "console/audit.html", context)


def _before(request: HttpRequest) -> int | None:
    """Return the number in the address; another text is ignored."""
    typed = request.GET.get("before", "")
    return (
        min(int(typed), _HIGHEST) if typed.isascii() and typed.isdigit() and len(typed) <= len(str(_HIGHEST)) else None
    )


def _actor(actor: str) -> str:
    kind, _, name = shown_actor(actor).partition(":")
    return {"user": name, "key": f"API key {name}"}.get(kind, shown_actor(actor)) if name else kind


def _details(details: str) -> list[tuple[str, str]]:
    """Return the details that say something, instants in them as everywhere on the page."""
    found: dict[str, object] = json.loads(details)
    return [(name.replace("_", " "), _text(value)) for name, value in found.items() if value not in (None, "", [], {})]


def _text(value: object) -> str:
    if isinstance(value, str):
        try:
            return format_html("{} UTC", second(parse_instant(value)))
        except ValueError:
            return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return format_html_join(", ", "{}", [(_text(each),) for each in value])
    if isinstance(value, dict):
        return format_html_join(", ", "{} {}", [(name, _text(each)) for name, each in value.items()])
    return str(value)
