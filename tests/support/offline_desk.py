"""Filling in the console's form for an offline licence, and confirming its preview, as a person at a browser does."""

import json
import re

from django.core.files.uploadedfile import SimpleUploadedFile

from administration import ADA
from console_site import Desk, Shown
from keyseat_shared.request import MachineRequest
from vendor import MACHINE, machine

NEW, ISSUE, TEST = "licenses/KSE/offline/new", "licenses/KSE/offline/issue", "licenses/KSE/offline/test"
FLOATING = "licenses/KRE/offline/new"
WEAK = machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[])
FORM: dict[str, object] = {"machine_id": str(MACHINE), "user": ADA, "last_day": ""}


def hidden(shown: Shown) -> dict[str, object]:
    """Return the hidden fields of a page's own form."""
    found_fields = re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', shown.html)
    return {name: value for name, value in found_fields if name != "csrfmiddlewaretoken"}


def confirm(desk: Desk, shown: Shown, path: str = ISSUE, **changes: object) -> Shown:
    """Tick the box of a preview and confirm it."""
    return desk.post(path, hidden(shown) | {"read": "yes"} | changes)


def kept(shown: Shown) -> dict[str, str]:
    """Return what the fields of a form that is shown again hold."""
    area = re.search(r'<textarea name="machine_id"[^>]*>\s*([^<]*)</textarea>', shown.html)
    values = {"machine_id": area[1].strip() if area else ""}
    for name in ("user", "sessions", "last_day"):
        field = re.search(f'<input type="[a-z]+" name="{name}"(?: value="([^"]*)")?', shown.html)
        if field:
            values[name] = field[1] or ""
    return values


def request_file(mid: object = MACHINE) -> SimpleUploadedFile:
    """Return the request file that a machine writes."""
    content = MachineRequest(mid, "linux", "physical", {"keyseat": "1.0.0"}, ()).to_dict()
    return SimpleUploadedFile("request.json", json.dumps(content).encode())
