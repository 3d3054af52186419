"""Offline licences that there are: what one says, its file to download, and test licences for a machine."""

from http import HTTPStatus
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from keyseat_issuer.console import vendor
from keyseat_issuer.console.licenses import base_context
from keyseat_issuer.console.offline import Place, ended, machine_page
from keyseat_issuer.console.offline_forms import MachineForm
from keyseat_issuer.console.visits import Visit, page
from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.offline.files import SUFFIX, file_stem
from keyseat_issuer.ledger.offline.machine_test import VALID_FOR, make_test_license
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


@page("console_offline_license", "GET")
def one(request: HttpRequest, visit: Visit, product: str, license_id: UUID) -> HttpResponse:
    """Show a licence, where its file is downloaded, and where that goes."""
    context = base_context(visit, product)
    row = _find(visit, product, license_id)
    if row is None:
        return _not_found(request, visit, product)
    more = {"license": row, "active": visit.now < row.expires_at, "file_name": _name(row.product, row.machine_id)}
    return render(request, "console/offline_license.html", context | more)


@page("console_offline_file", "GET")
def download(request: HttpRequest, visit: Visit, product: str, license_id: UUID) -> HttpResponse:
    """Hand out a licence's file, byte for byte as it was signed; each time is recorded."""
    base_context(visit, product)
    if _find(visit, product, license_id) is None:
        return _not_found(request, visit, product)
    found = licenses.export(str(license_id), actor=visit.actor, now=visit.now)
    return _attached(_name(found.product, found.machine_id), found.file)


@page("console_offline_test", "GET", "POST")
def try_machine(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Ask for a machine ID, and hand out a file that tells its machine whether the ID is right. It takes no seat."""
    place = Place(request, visit, product)
    template, more = "console/offline_test.html", {"days": VALID_FOR.days}
    if request.method == "GET":
        return machine_page(place, template, MachineForm(), more)
    form = MachineForm(request.POST, request.FILES)
    licensing = vendor.in_use().licensing
    if licensing is None:
        return machine_page(place, template, form, more, HTTPStatus.CONFLICT)
    if not form.is_valid():
        return machine_page(place, template, form, more, HTTPStatus.BAD_REQUEST)
    try:
        terms = licensing.terms(visit.actor, visit.now)
        made = make_test_license(str(visit.organization.pk), product, form.cleaned_data["machine_id"], terms)
    except KeyseatError as error:
        if error.code is ReasonCode.ISSUED_AFTER_SUNSET:
            return ended(place)
        return machine_page(place, template, form, more, form.refuse(error))
    return _attached(f"{file_stem(made.product, made.machine_id)}_test{SUFFIX}", made.file)


def _find(visit: Visit, product: str, license_id: UUID) -> OfflineLicense | None:
    rows = OfflineLicense.objects.defer("file").filter(organization=visit.organization, product=product)
    return rows.filter(pk=license_id).first()


def _not_found(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    messages.warning(request, "There is no such offline licence here.")
    return redirect("console_product", visit.organization.pk, product)


def _name(product: str, machine_id: str) -> str:
    return file_stem(product, machine_id) + SUFFIX


def _attached(name: str, data: bytes) -> HttpResponse:
    # No JSON for browsers: some would add an ending of their own to the name.
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(data, content_type="application/octet-stream", headers=headers)
