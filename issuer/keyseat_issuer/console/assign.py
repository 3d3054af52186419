"""Assign License: many addresses pasted or from a file, a look at what would happen, then all of them or none."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from keyseat_issuer.console.licenses import base_context
from keyseat_issuer.console.pages import back
from keyseat_issuer.console.visits import Visit, page, told
from keyseat_issuer.ledger.customers import address_list
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.seats.preview import Preview, preview_assign
from keyseat_issuer.ledger.seats.rules import STRANGER, UNREADABLE, Line
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


class Outlook(NamedTuple):
    """The outcome that one address would have, and its place in the text."""

    entry: address_list.Entry
    line: Line
    offline_until: datetime | None = None

    @property
    def fault(self) -> bool:
        """Whether something stands in the way."""
        return self.line.status in {STRANGER, UNREADABLE}


@page("console_assign", "GET", "POST")
def assign(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Take addresses, show the outcome for each, and assign seats to those that were shown as possible."""
    context = base_context(visit, product)
    try:
        context["now_free"] = preview_assign(visit.organization, product, [], policy=visit.policy, now=visit.now).free
    except KeyseatError as error:
        status = HTTPStatus.OK if request.method == "GET" else HTTPStatus.CONFLICT
        return _form(request, context, status, unavailable=error.message)
    if request.method == "GET":
        return _form(request, context)
    text = request.POST.get("emails", "")
    file = request.FILES.get("file")
    try:
        # One byte more than may be read is enough to be refused for its size.
        entries = address_list.read(text, file.read(address_list.MAX_SIZE + 1) if file else b"")
    except KeyseatError as error:
        return _form(request, context, HTTPStatus.BAD_REQUEST, error=told(error), text=text)
    context |= {"text": _merged(text, entries), "entries": entries}
    if "confirmed" not in request.POST:
        return _look(request, visit, context)
    emails = [entry.email or entry.typed for entry in entries]
    try:
        lines = seats.assign(visit.organization, product, emails, policy=visit.policy, actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        return _look(request, visit, context, error)
    done = sum(line.status == seats.ASSIGNED for line in lines)
    also = f" {len(lines) - done} held one already." if done < len(lines) else ""
    seat = "seat" if done == 1 else "seats"
    messages.success(request, f"Assigned {done} {product} {seat}.{also} Each user activates in the program.")
    return back(visit, product, "users")


def _look(
    request: HttpRequest, visit: Visit, context: dict[str, Any], refusal: KeyseatError | None = None
) -> HttpResponse:
    """Show what would happen, with the refusal of an attempt above it."""
    entries: list[address_list.Entry] = context["entries"]
    emails = [entry.email for entry in entries if entry.email]
    preview = preview_assign(visit.organization, context["tab"].code, emails, policy=visit.policy, now=visit.now)
    return _form(
        request,
        context,
        HTTPStatus.OK if refusal is None else HTTPStatus.CONFLICT,
        error="" if refusal is None else told(refusal),
        preview=preview,
        full="" if preview.refusal is None else told(preview.refusal),
        outlooks=_outlooks(entries, preview),
        strangers=sum(line.status == STRANGER for line in preview.lines),
        chosen="\n".join(preview.assignable),
    )


def _outlooks(entries: list[address_list.Entry], preview: Preview) -> list[Outlook]:
    """Return the outcome that each entry would have: obstacles first, then the rest, in the order typed."""
    lines = {line.email: line for line in preview.lines}
    found = [
        Outlook(entry, lines[entry.email], preview.offline.get(entry.email))
        if entry.email
        else Outlook(entry, Line(entry.typed, UNREADABLE, ReasonCode.INVALID_INPUT))
        for entry in entries
    ]
    return sorted(found, key=lambda outlook: not outlook.fault)


def _merged(text: str, entries: list[address_list.Entry]) -> str:
    """Return what was typed with the addresses of the file below it: a browser does not send a file twice."""
    uploaded = [entry.email or entry.typed for entry in entries if entry.from_file and entry.typed]
    return "\n".join([*filter(None, [text.rstrip()]), *uploaded])


def _form(
    request: HttpRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, **shown: object
) -> HttpResponse:
    return render(request, "console/assign.html", context | shown, status=status)
