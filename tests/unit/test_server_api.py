"""Calls to the licence server against scripted answers: what is tried again, what is renewed, what is no server."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.online.api import Granted, ProblemError, ServerApi
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted as Tokens
from keyseat_verifier.online.transport import Deadline, Transport, UnreachableError
from loopback import Listener, Script, answer
from vendor import MACHINE, NOW, Vendor

SESSION = "01890a5d-ac96-774b-bcce-b302099a8057"
LEASE = json.loads(Vendor().lease())
GIVEN = {"session_id": SESSION, "lease": LEASE}
KEY = "ksk_12345678_" + "s" * 38


class Calls(NamedTuple):
    api: ServerApi
    script: Script
    pauses: list[float]

    def acquire(self, seconds: float = 1e6) -> Granted:
        return self.api.acquire(str(MACHINE), "n" * 22, "key", Deadline(seconds))

    @property
    def paths(self) -> list[str]:
        return [head.split()[1] for head, _ in self.script.requests]


def said(value: object, status: str = "201 Created", **headers: str) -> bytes:
    return answer(json.dumps(value).encode(), status, **headers)


def problem(code: str, status: str, **more: object) -> bytes:
    return said({"code": code, "detail": "words", "next": "do this", **more}, status)


BUSY = answer(b"<html>busy</html>", "503 Service Unavailable", Retry_After="7")


@contextlib.contextmanager
def calls(home: Path, *answers: bytes, named: bool = False) -> Iterator[Calls]:
    """A client with an API key, or where ``named`` signed in as a user."""
    script = Script(*answers)
    with Listener(script).accepting() as listener:
        config = ServerConfig(f"http://127.0.0.1:{listener.port}")
        transport = Transport(config.url)
        credentials = Credentials(str(home), config, {"KEYSEAT_API_KEY": KEY}, transport)
        credentials.store(Tokens("ksu_1", "ksr_1", 10**6), NOW)
        pauses: list[float] = []
        api = ServerApi(transport, credentials, "KRE", lambda: NOW, named=named, pause=pauses.append)
        yield Calls(api, script, pauses)


def refusal(call: object, *arguments: object) -> KeyseatError:
    with pytest.raises(KeyseatError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value


class TestTryingAgain:
    def test_goes_on_where_a_gateway_or_the_network_fails_for_a_moment(self, tmp_path: Path) -> None:
        with calls(tmp_path, BUSY, b"", said(GIVEN)) as made:
            assert SESSION == made.acquire().session_id
            assert ["/api/v1/sessions"] * 3 == made.paths

        assert 7 <= made.pauses[0] <= 7 * 1.25  # as long as the gateway wants, and a little spread
        assert 0.25 <= made.pauses[1] <= 0.75

    def test_is_the_same_request_each_time(self, tmp_path: Path) -> None:
        with calls(tmp_path, b"", said(GIVEN)) as made:
            made.acquire()

        (first, body), (second, same) = made.script.requests
        assert (first, body) == (second, same)
        assert "Idempotency-Key: key\r\n" in first

    @pytest.mark.parametrize("status", ["408 Request Timeout", "429 Too Many Requests", "503 Service Unavailable"])
    def test_is_tried_again_where_a_connection_was_too_slow_or_one_too_many(self, tmp_path: Path, status: str) -> None:
        with calls(tmp_path, problem("MALFORMED", status), said(GIVEN)) as made:
            made.acquire()

        assert 2 == len(made.script.requests)

    def test_ends_after_four_tries(self, tmp_path: Path) -> None:
        with calls(tmp_path, answer(b"", "502 Bad Gateway")) as made:
            error = refusal(made.acquire)

        assert (4, 3) == (len(made.script.requests), len(made.pauses))
        assert ("SERVER_UNREACHABLE", True) == (error.code, "is not available (status 502)" in error.message)

    def test_ends_where_its_time_would_be_over(self, tmp_path: Path) -> None:
        with calls(tmp_path, BUSY) as made:
            refusal(made.acquire, 5.0)

        assert (1, []) == (len(made.script.requests), made.pauses)

    @pytest.mark.parametrize(
        "final", [problem("QUOTA_EXCEEDED", "409 Conflict"), problem("INTERNAL", "500 Internal Server Error")]
    )
    def test_does_not_happen_where_the_answer_is_no(self, tmp_path: Path, final: bytes) -> None:
        with calls(tmp_path, final) as made:
            error = refusal(made.acquire)

        assert (1, "words", "do this") == (len(made.script.requests), error.message, error.next_step)


class TestTokens:
    def test_that_the_server_takes_no_more_are_renewed_once(self, tmp_path: Path) -> None:
        pair = said({"access_token": "ksu_2", "refresh_token": "ksr_2", "expires_in": 600}, "200 OK")
        refused = problem("NOT_ALLOWED", "401 Unauthorized")
        with calls(tmp_path, refused, pair, said(GIVEN), named=True) as made:
            assert SESSION == made.acquire().session_id

        assert ["/api/v1/sessions", "/oauth/token", "/api/v1/sessions"] == made.paths
        heads = [head for head, _ in made.script.requests]
        assert ("Bearer ksu_1" in heads[0], "Bearer ksu_2" in heads[2]) == (True, True)

    def test_that_are_refused_again_are_not_renewed_for_ever(self, tmp_path: Path) -> None:
        pair = said({"access_token": "ksu_2", "refresh_token": "ksr_2", "expires_in": 600}, "200 OK")
        refused = problem("NOT_ALLOWED", "401 Unauthorized")
        with calls(tmp_path, refused, pair, refused, named=True) as made:
            assert "NOT_ALLOWED" == refusal(made.acquire).code

        assert 3 == len(made.paths)

    def test_of_an_organisation_are_not_renewed(self, tmp_path: Path) -> None:
        with calls(tmp_path, problem("NOT_ALLOWED", "401 Unauthorized")) as made:
            assert "NOT_ALLOWED" == refusal(made.acquire).code

        assert ["/api/v1/sessions"] == made.paths


class TestStrangeAnswers:
    @pytest.mark.parametrize(
        "strange",
        [
            answer(b"<html>sign in</html>", Content_Type="text/html"),
            answer(b"", "302 Found", Location="https://portal.example/"),
            said({}),
            said({"session_id": SESSION, "lease": "text"}),
            said({"session_id": "../../x", "lease": LEASE}),
            said({"code": "NO_SUCH_CODE"}, "409 Conflict"),
            said([1]),
        ],
    )
    def test_are_told_as_no_server_of_ours_and_not_tried_again(self, tmp_path: Path, strange: bytes) -> None:
        with calls(tmp_path, strange) as made:
            error = refusal(made.acquire)

        assert isinstance(error, UnreachableError)
        assert "is not a keyseat server (status " in error.message
        assert 1 == len(made.paths)

    def test_to_release_previous_count_as_none_released(self, tmp_path: Path) -> None:
        with calls(tmp_path, said({"released": "many"}, "200 OK"), said({"released": 2}, "200 OK")) as made:
            assert [0, 2] == [made.api.release_previous(str(MACHINE), Deadline(60)) for _ in range(2)]

    def test_with_too_many_details_lose_them(self, tmp_path: Path) -> None:
        full = problem("QUOTA_EXCEEDED", "409 Conflict", details={"a": "x" * 5000})
        with calls(tmp_path, full) as made:
            error = refusal(made.acquire)

        assert ({}, True) == (error.details, isinstance(error, ProblemError))


class TestOtherCalls:
    def test_have_their_own_paths(self, tmp_path: Path) -> None:
        with calls(tmp_path, said(GIVEN), answer(b"", "204 No Content"), said({}, "200 OK")) as made:
            made.api.renew(SESSION, str(MACHINE), "n" * 22, Deadline(60))
            made.api.release(SESSION, Deadline(60))
            made.api.trust(Deadline(60))
            made.api.trust(Deadline(60), 7)

        assert [
            f"/api/v1/sessions/{SESSION}/renew",
            f"/api/v1/sessions/{SESSION}",
            "/api/v1/trust",
            "/api/v1/trust/7",
        ] == made.paths
        assert [True, True, False, False] == ["Bearer" in head for head, _ in made.script.requests]
