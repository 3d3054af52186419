"""Whatever a program sends to the OAuth endpoints, it gets one of OAuth's answers."""

import json
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databases import Ledger

GRANTS = ("urn:ietf:params:oauth:grant-type:device_code", "refresh_token", "password", "")
NAMES = ("client_id", "grant_type", "device_code", "refresh_token", "token", "scope", "device_name")
VALUES = st.one_of(st.sampled_from(("keyseat", "sessions", "ksr_x", "ksu_x", *GRANTS)), st.text(max_size=80))
FORMS = st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, st.lists(VALUES, max_size=2)))
ERRORS = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unsupported_grant_type",
    "slow_down",
}


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"], indirect=True)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(("/oauth/device", "/oauth/token", "/oauth/revoke")), form=FORMS, raw=st.binary(max_size=200)
)
def test_every_form_gets_an_answer_of_oauth(ledger: Ledger, path: str, form: dict[str, object], raw: bytes) -> None:
    kind = "application/x-www-form-urlencoded"
    client = Client(raise_request_exception=False)
    encoded = "&".join(
        f"{name}={_quote(value)}"
        for name, values in form.items()
        for value in (values if isinstance(values, list) else [values])
    )
    for body in (encoded.encode(), raw):
        answer = client.post(path, body, content_type=kind)

        assert answer.status_code in {200, 400, 401, 429}
        assert "no-store" == answer.headers["Cache-Control"]
        if answer.status_code != 200:
            assert json.loads(answer.content)["error"] in ERRORS


def _quote(value: object) -> str:
    return quote(str(value).encode("utf-8", "surrogatepass"))
