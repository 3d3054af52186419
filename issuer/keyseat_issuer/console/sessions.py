"""Ending online sessions and taking machines off the list, after a look at what that means."""

import re
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from keyseat_issuer.console.licenses import base_context
from keyseat_issuer.console.pages import ask, back
from keyseat_issuer.console.templatetags.console import short_id
from keyseat_issuer.console.visits import Visit, page, told
from keyseat_issuer.ledger.seats import machines
from keyseat_issuer.ledger.sessions import admin
from keyseat_shared.errors import KeyseatError

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@page("console_sessions_end", "POST")
def end(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Show which sessions would end, then end them: their seats are free at once, and their clients are told."""
    context = base_context(visit, product)
    ids = [UUID(name) for name in request.POST.getlist("session") if _ID.fullmatch(name)]
    chosen = list(admin.listed(visit.organization, visit.now, product).ordered.filter(pk__in=ids))
    if not chosen:
        messages.warning(request, "No live session was chosen; one that was may have ended meanwhile.")
        return back(visit, product, "sessions")
    if "confirmed" not in request.POST:
        return ask(
            request,
            context,
            title="End these sessions?" if len(chosen) > 1 else "End this session?",
            meaning="Their seats are free at once. Each client is told when it renews next, until then it may go on.",
            lines=[f"{row.holder} on {short_id(row.machine_id)}" for row in chosen],
            fields=[("session", str(row.pk)) for row in chosen],
            verb="End",
        )
    try:
        ended = admin.force_release(visit.organization, [row.pk for row in chosen], actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        messages.error(request, told(error))
    else:
        messages.success(request, "Ended 1 session." if len(ended) == 1 else f"Ended {len(ended)} sessions.")
    return back(visit, product, "sessions")


@page("console_machine_remove", "POST")
def remove_machine(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Show what a machine holds, then take it off the list: its sessions end, offline licences stay."""
    context = base_context(visit, product)
    machine_id = request.POST.get("machine", "")
    # A text that a database refuses is no machine ID either.
    ids = [machine_id] if machine_id.isprintable() else []
    found = machines.list_machines(visit.organization, visit.now, ids)
    if not found:
        messages.warning(request, "That machine holds nothing any more.")
        return back(visit, product, "machines")
    if "confirmed" not in request.POST:
        lines = [f"{row.product} session of {row.holder}: ends" for row in found[0].sessions]
        lines += [
            f"{row.product} offline licence{f' of {row.user}' if row.user else ''}: stays until it expires"
            for row in found[0].licenses
        ]
        return ask(
            request,
            context,
            title=f"Remove the machine {short_id(machine_id)}?",
            meaning="Its online sessions of all products end. An offline licence cannot be taken back.",
            lines=lines,
            fields=[("machine", machine_id)],
            verb="Remove",
        )
    try:
        removed = machines.remove_machine(visit.organization, machine_id, actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        messages.error(request, told(error))
    else:
        kept = len(removed.offline_until)
        stays = f" {kept} offline licence{'s' * (kept > 1)} on it stay{'s' * (kept == 1)} until expiry." if kept else ""
        messages.success(request, f"Sessions ended on the machine: {removed.sessions_ended}.{stays}")
    return back(visit, product, "machines")
