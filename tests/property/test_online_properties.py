"""Whatever a server, a disk or a person gives, the online client answers with its own errors and nothing else."""

import contextlib
import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from keyseat_shared.errors import KeyseatError, VerificationError
from keyseat_verifier.online.api import ServerApi
from keyseat_verifier.online.config import ServerConfig, check_url, load_config
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.transport import Answer, Deadline, Transport, UnreachableError
from keyseat_verifier.verify.lease import verify_lease
from keyseat_verifier.verify.verifier import Verifier
from vendor import MACHINE, NOW, Vendor

VENDOR = Vendor()
VERIFIER = Verifier(VENDOR.bundle, "KRE")
LEASE = json.loads(VENDOR.lease())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


class Canned(Transport):
    """A server that gives one answer to everything."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("https://licenses.example.com")
        self.answer = answer

    def request(self, *_: object, **__: object) -> Answer:
        return self.answer


def refusal(answer: Answer) -> KeyseatError | None:
    try:
        ask(answer)
    except KeyseatError as error:
        return error
    return None


def ask(answer: Answer) -> object:
    config = ServerConfig("https://licenses.example.com")
    transport = Canned(answer)
    credentials = Credentials("/nowhere", config, {"KEYSEAT_API_KEY": "ksk_1"}, transport)
    api = ServerApi(transport, credentials, "KRE", lambda: NOW, named=False, pause=lambda _: None)
    return api.acquire(str(MACHINE), "n" * 22, "key", Deadline(1e6))


@given(st.binary(max_size=400))
def test_any_bytes_are_no_lease(data: bytes) -> None:
    try:
        verify_lease(VERIFIER, data, machine=MACHINE, now=NOW)
    except VerificationError:
        return
    raise AssertionError


@given(st.sampled_from(["payload", "payloadType", "signatures", "extra"]), VALUES)
def test_any_change_of_a_leases_envelope_is_refused(name: str, value: object) -> None:
    try:
        verify_lease(VERIFIER, json.dumps(LEASE | {name: value}).encode(), machine=MACHINE, now=NOW)
    except VerificationError:
        return
    raise AssertionError


@given(st.integers(100, 599), st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_answer_of_a_server_is_a_grant_or_a_keyseat_error(status: int, body: bytes) -> None:
    error = refusal(Answer(status, {"retry-after": body.decode("latin-1")}, body))
    assert error is None or (error.message and error.next_step)


@given(
    st.fixed_dictionaries(
        {"code": st.sampled_from(["QUOTA_EXCEEDED", "LEASE_ENDED", "X", ""]) | VALUES},
        optional={"detail": VALUES, "next": VALUES, "details": VALUES},
    ),
    st.sampled_from([400, 401, 403, 409, 410, 422, 429, 500, 503]),
)
def test_any_problem_document_is_told_in_printable_words(body: object, status: int) -> None:
    error = refusal(Answer(status, {}, json.dumps(body).encode()))
    assert error is not None
    assert error.message.isprintable()
    assert error.next_step.isprintable()
    assert isinstance(error, UnreachableError) or isinstance(getattr(error, "reason", None), str)


@given(st.text(max_size=60) | st.sampled_from(["https://[", "http://127.0.0.1:x", "https://a:99999", "https://\u212a"]))
def test_any_text_is_a_servers_address_or_is_refused(text: str) -> None:
    try:
        url = check_url(text)
    except KeyseatError:
        return
    assert url.startswith(("https://", "http://"))
    assert url.isascii()


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_server_file_is_understood_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        Path(home, "server.json").write_bytes(data)
        with contextlib.suppress(KeyseatError):
            found = load_config(home, {})
            assert found is not None
            assert found.url == check_url(found.url)
