"""What contenders do against the running service, each in a process of its own (see ``races``)."""

import http.client
import json
import os
from urllib.parse import urlsplit

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


def take_over(number: int, url: str, token: str) -> str:
    """Ask for the one session of a named user, on a machine of its own; return the session."""
    own = machine(
        firmware_uuid=[f"11111111-2222-4333-8444-{number:012x}"],
        firmware_serial=[f"SERIAL{number:04d}"],
        nic=[f"3c5282aa{number:04x}"],
        disk=[f"WD-{number:06d}"],
        os=[f"ffeeddccbbaa99887766554433{number:06x}"],
    )
    status, body = ask(url, token, product="KSE", machine_id=str(own))
    if status not in {200, 201}:
        raise AssertionError(body)
    return str(body["session_id"])


def ask(
    url: str, key: str, idempotency: str = "", *, product: str = "KRE", machine_id: str = str(MACHINE)
) -> tuple[int, dict[str, object]]:
    """Ask for a session; return status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        body = {"product": product, "machine_id": machine_id, "nonce": "n" * 22}
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency or os.urandom(8).hex()}
        connection.request("POST", "/api/v1/sessions", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
