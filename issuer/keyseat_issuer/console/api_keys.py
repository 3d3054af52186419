"""An organisation's API keys: listed, made and shown once, revoked after a look."""

from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html

from keyseat_issuer.console.key_form import KeyForm
from keyseat_issuer.console.password_again import password_again
from keyseat_issuer.console.tables import shown
from keyseat_issuer.console.templatetags.console import at
from keyseat_issuer.console.visits import Visit, common, page, told
from keyseat_issuer.ledger.audit.listing import shown_actor
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.customers.member_guards import manages_still
from keyseat_issuer.ledger.models import ApiKey
from keyseat_shared.errors import KeyseatError


class Key(NamedTuple):
    """A key as the list shows it. ``state``: ``active``, ``expired`` or ``revoked``."""

    row: ApiKey
    state: str
    made_by: str

    @property
    def scopes(self) -> list[str]:
        """What it may, in its short names."""
        return self.row.scopes.split()


@page("console_api_keys", "GET")
def keys_page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """List the keys, newest first, without their secrets."""
    keys = [_key(row, visit.now) for row in api_keys.list_keys(visit.organization)]
    context = common(visit, "api-keys") | {"keys": shown(request, "keys", keys)}
    return render(request, "console/api_keys.html", context)


@page("console_api_key_new", "GET", "POST")
@password_again()
def create(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Make a key and show it, this once: it stands in this answer and nowhere else."""
    form = KeyForm(request.POST if request.method == "POST" else None, now=visit.now)
    if not form.is_valid():
        chosen = form["scopes"].value() or []
        context = common(visit, "api-keys") | {
            "form": form,
            "scopes": [(scope, meaning, scope in chosen) for scope, meaning in api_keys.SCOPES.items()],
        }
        status = HTTPStatus.BAD_REQUEST if form.is_bound else HTTPStatus.OK
        return render(request, "console/api_key_new.html", context, status=status)
    made = api_keys.create_key(
        visit.organization,
        form.cleaned_data["scopes"],
        name=form.cleaned_data["name"],
        expires_at=form.cleaned_data["expires"],
        actor=visit.actor,
        now=visit.now,
        guard=manages_still(visit.organization, visit.user.email),
    )
    context = common(visit, "api-keys") | {"key": _key(made.row, visit.now), "text": made.text}
    response = render(request, "console/api_key_made.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


@page("console_api_key_revoke", "POST")
def revoke(request: HttpRequest, visit: Visit, key_id: UUID) -> HttpResponse:
    """Show which key would be refused from now on, then revoke it."""
    row = ApiKey.objects.filter(organization=visit.organization, pk=key_id).first()
    if row is None or row.revoked_at is not None:
        messages.warning(request, "That key is no more, or was revoked already.")
        return redirect("console_api_keys", visit.organization.pk)
    if "confirmed" not in request.POST:
        used = "Never used" if row.last_used_at is None else format_html("Last used: {}", at(row.last_used_at))
        context = common(visit, "api-keys") | {
            "title": f"Revoke the key “{row.name}”?",
            "lines": [
                f"Prefix: {row.prefix}",
                f"Made by {_key(row, visit.now).made_by}",
                used,
            ],
            "meaning": "Programs that use it are refused within seconds, for good. Sessions that run now go on until "
            "their leases end; you can end them under Licences.",
            "fields": [],
            "verb": "Revoke",
            "cancel": reverse("console_api_keys", args=(visit.organization.pk,)),
        }
        return render(request, "console/confirm.html", context)
    try:
        api_keys.revoke_key(visit.organization, row.prefix, actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        messages.error(request, told(error))
    else:
        messages.success(request, f"The key “{row.name}” ({row.prefix}) was revoked.")
    return redirect("console_api_keys", visit.organization.pk)


def _key(row: ApiKey, now: datetime) -> Key:
    made_by = shown_actor(row.created_by)
    return Key(row, api_keys.state(row, now), "your vendor" if made_by == "vendor" else made_by.removeprefix("user:"))
