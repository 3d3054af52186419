"""What contenders do against the running service, each in a process of its own (see ``races``)."""

import http.client
import json
import os
from urllib.parse import urlsplit

from vendor import MACHINE


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


def ask(url: str, key: str, idempotency: str = "") -> tuple[int, dict[str, object]]:
    """Ask for a floating session; return status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        body = {"product": "KRE", "machine_id": str(MACHINE), "nonce": "n" * 22}
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency or os.urandom(8).hex()}
        connection.request("POST", "/api/v1/sessions", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
