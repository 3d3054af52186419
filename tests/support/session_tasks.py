"""What contenders do against the running service, each in a process of its own (see ``races``)."""

import http.client
import json
import os
from urllib.parse import urlsplit

from keyseat_shared.machine_id import MachineID
from vendor import MACHINE, machine


def acquire_each(number: int, url: str, keys: list[str]) -> list[int]:
    """Ask once for a session with each key and return the statuses."""
    del number
    return [ask(url, key)[0] for key in keys]


def acquire_all(number: int, url: str, key: str, wanted: int) -> list[str]:
    """Ask for so many sessions until each request has an answer, as a client does: repeat it, the key the same."""
    del number
    found = []
    for _ in range(wanted):
        idempotency = os.urandom(8).hex()
        for _ in range(100):
            try:
                status, body = ask(url, key, idempotency)
            except (OSError, http.client.HTTPException):
                continue
            if status in {200, 201}:
                found.append(str(body["session_id"]))
                break
            if status != 503:
                raise AssertionError(body)
        else:
            raise AssertionError("no answer")
    return found


def acquire_same(number: int, url: str, key: str, idempotency: str) -> list[object]:
    """Send one and the same request; return its status and session."""
    del number
    status, body = ask(url, key, idempotency)
    return [status, body.get("session_id")]


def acquire_and_release(number: int, url: str, key: str) -> int:
    """Ask for a session on a machine of its own, and give it back at once; return the status of the request."""
    status, body = ask(url, key, machine_id=str(numbered(number)))
    if status == 201:
        call(url, key, "DELETE", f"/api/v1/sessions/{body['session_id']}")
    return status


def take_over(number: int, url: str, token: str) -> str:
    """Ask for the one session of a named user, on a machine of its own; return the session, or why there is none."""
    status, body = ask(url, token, product="KSE", machine_id=str(numbered(number)))
    if status not in {200, 201, 409}:
        raise AssertionError(body)
    return str(body.get("session_id") or body["code"])


def numbered(number: int) -> MachineID:
    """Return the ID of one of many machines."""
    return machine(
        firmware_uuid=[f"11111111-2222-4333-8444-{number:012x}"],
        firmware_serial=[f"SERIAL{number:04d}"],
        nic=[f"3c5282aa{number:04x}"],
        disk=[f"WD-{number:06d}"],
        os=[f"ffeeddccbbaa99887766554433{number:06x}"],
    )


def ask(
    url: str, key: str, idempotency: str = "", *, product: str = "KRE", machine_id: str = str(MACHINE)
) -> tuple[int, dict[str, object]]:
    """Ask for a session; return status and body."""
    body = {"product": product, "machine_id": machine_id, "nonce": "n" * 22}
    return call(url, key, "POST", "/api/v1/sessions", body, idempotency=idempotency or os.urandom(8).hex())


def call(
    url: str, key: str, method: str, path: str, body: object = None, *, idempotency: str = ""
) -> tuple[int, dict[str, object]]:
    """Send a request; return status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {key}"} | ({"Idempotency-Key": idempotency} if idempotency else {})
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else {}
    finally:
        connection.close()
