"""The client's half of the device grant against a scripted server: its pace, its refusals, and its strange answers."""

import contextlib
import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from freezegun import freeze_time

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.online import oauth
from keyseat_verifier.online.oauth import DeviceCode, Granted, OAuthError
from keyseat_verifier.online.transport import Deadline, Transport, UnreachableError
from loopback import ASKED, Listener, Script, answer

TOKENS = {"access_token": "ksu_1", "refresh_token": "ksr_1", "expires_in": 600, "token_type": "Bearer"}
CODE = DeviceCode("d" * 32, "BCDF-GHJK", "https://licenses.example/device", "https://licenses.example/d", 900, 1)
PAGE = answer(b"<html>sign in to this network</html>", Content_Type="text/html")


def said(value: object, status: str = "200 OK", **headers: str) -> bytes:
    return answer(json.dumps(value).encode(), status, **headers)


def oauth_error(word: object, status: str = "400 Bad Request", **headers: str) -> bytes:
    return said({"error": word}, status, **headers)


@contextlib.contextmanager
def server(*answers: bytes) -> Iterator[tuple[Transport, Script]]:
    script = Script(*answers)
    with Listener(script).accepting() as listener:
        yield Transport(f"http://127.0.0.1:{listener.port}"), script


def wait(*answers: bytes) -> tuple[Granted, list[float]]:
    """Poll a server that answers so; return the tokens and the pauses that were made."""
    pauses: list[float] = []
    with server(*answers) as (transport, _):
        return oauth.wait_for_approval(transport, CODE, pauses.append), pauses


class TestBegin:
    def test_tells_the_server_which_machine_asks(self) -> None:
        with server(said(ASKED)) as (transport, script):
            found = oauth.begin(transport, "build-7 & more")

        assert DeviceCode(*ASKED.values()) == found  # type: ignore[arg-type]
        head, body = script.requests[0]
        assert head.startswith("POST /oauth/device HTTP/1.1\r\n")
        assert {"client_id": ["keyseat"], "device_name": ["build-7 & more"]} == parse_qs(body.decode())

    def test_goes_by_the_standard_where_the_server_says_less(self) -> None:
        less = {name: value for name, value in ASKED.items() if name not in {"interval", "verification_uri_complete"}}
        with server(said(less)) as (transport, _):
            found = oauth.begin(transport, "build-7")

        assert (5, ASKED["verification_uri"]) == (found.interval, found.verification_uri_complete)

    @pytest.mark.parametrize(
        "change",
        [{"device_code": 1}, {"user_code": "\x1b[2J"}, {"verification_uri": None}, {"expires_in": 0}, {"interval": -1}],
    )
    def test_refuses_what_is_no_answer_of_the_standard(self, change: dict[str, object]) -> None:
        with server(said(ASKED | change)) as (transport, _), pytest.raises(UnreachableError) as caught:
            oauth.begin(transport, "build-7")

        assert "is not a keyseat server" in caught.value.message
        assert caught.value.is_lasting

    def test_refuses_a_networks_sign_in_page(self) -> None:
        with server(PAGE) as (transport, _), pytest.raises(UnreachableError) as caught:
            oauth.begin(transport, "build-7")

        assert "is not a keyseat server (status 200)" in caught.value.message
        assert "sign-in page" in caught.value.next_step

    def test_tells_that_too_many_have_begun(self) -> None:
        with (
            server(oauth_error("slow_down", "429 Too Many Requests")) as (transport, _),
            pytest.raises(OAuthError) as caught,
        ):
            oauth.begin(transport, "build-7")

        assert ("SERVER_UNREACHABLE", "too many sign-ins were begun from this network") == (
            caught.value.code,
            caught.value.message,
        )
        assert "Try again later" in caught.value.next_step

    def test_shows_no_secret(self) -> None:
        assert "d" * 32 not in repr(CODE)
        assert "ksu_1" not in repr(Granted("ksu_1", "ksr_1", 600))


class TestWaiting:
    def test_polls_at_the_servers_pace_until_somebody_approves(self) -> None:
        pending = oauth_error("authorization_pending")
        assert (Granted("ksu_1", "ksr_1", 600), [1.0, 1.0, 1.0]) == wait(pending, pending, said(TOKENS))

    def test_sends_the_code_it_was_given(self) -> None:
        with server(said(TOKENS)) as (transport, script):
            oauth.wait_for_approval(transport, CODE, lambda _: None)

        assert {
            "grant_type": ["urn:ietf:params:oauth:grant-type:device_code"],
            "client_id": ["keyseat"],
            "device_code": ["d" * 32],
        } == parse_qs(script.requests[0][1].decode())

    def test_slows_down_by_five_seconds_each_time_it_is_told_to(self) -> None:
        slower = oauth_error("slow_down")
        assert [1.0, 6.0, 11.0] == wait(slower, slower, said(TOKENS))[1]

    def test_waits_as_long_as_a_gateway_wants(self) -> None:
        busy = answer(b"<html>busy</html>", "503 Service Unavailable", Retry_After="30")
        assert [1.0, 30.0] == wait(busy, said(TOKENS))[1]

    @pytest.mark.parametrize("retry_after", ["soon", "-1", "99999999"])
    def test_ignores_a_pause_that_is_no_number_of_seconds(self, retry_after: str) -> None:
        assert [1.0, 1.0] == wait(answer(b"", "502 Bad Gateway", Retry_After=retry_after), said(TOKENS))[1]

    def test_goes_on_where_the_server_is_away_for_a_while(self) -> None:
        assert [1.0, 6.0, 6.0] == wait(b"", oauth_error("authorization_pending"), said(TOKENS))[1]

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("access_denied", "the sign-in was refused in the browser"),
            ("expired_token", "nobody approved the code in time"),
            ("invalid_grant", "the code does not count any more"),
        ],
    )
    def test_ends_where_the_answer_is_no(self, word: str, message: str) -> None:
        with pytest.raises(OAuthError) as caught:
            wait(oauth_error("authorization_pending"), oauth_error(word))

        assert ("NOT_ALLOWED", message, "Run `keyseat login` again.") == (
            caught.value.code,
            caught.value.message,
            caught.value.next_step,
        )
        assert {"error": word} == caught.value.details

    @pytest.mark.parametrize(
        ("word", "told"),
        [("invalid_client", "invalid_client"), ("\x1b[2J", "status 400"), (7, "status 400"), ("e" * 90, "e" * 60)],
    )
    def test_ends_where_the_server_refuses_for_another_reason(self, word: object, told: str) -> None:
        with pytest.raises(OAuthError) as caught:
            wait(oauth_error(word))

        assert ("SERVER_UNREACHABLE", f"the server refused to sign in: {told}") == (
            caught.value.code,
            caught.value.message,
        )

    @pytest.mark.parametrize("strange", [PAGE, said({"access_token": "ksu_1"}), said(TOKENS | {"expires_in": True})])
    def test_ends_where_no_server_of_ours_answers(self, strange: bytes) -> None:
        with pytest.raises(UnreachableError) as caught:
            wait(strange)

        assert caught.value.is_lasting

    def test_ends_with_the_code(self) -> None:
        with server(oauth_error("authorization_pending")) as (transport, script):
            with pytest.raises(OAuthError) as caught:
                oauth.wait_for_approval(transport, CODE._replace(expires_in=0), lambda _: None)
            assert [] == script.requests

        assert "expired_token" == caught.value.error

    def test_tells_of_a_server_that_was_away_until_the_code_ended(self) -> None:
        pauses: list[float] = []
        with freeze_time("2023-12-01") as frozen:

            def pause(seconds: float) -> None:
                pauses.append(seconds)
                frozen.tick(seconds)

            with pytest.raises(UnreachableError) as caught:
                oauth.wait_for_approval(Transport("http://127.0.0.1:9"), CODE, pause)

        assert "connection refused" in caught.value.message
        assert [1.0, 6.0, 11.0] == pauses[:3]
        assert sum(pauses[:-1]) < CODE.expires_in <= sum(pauses)


class TestRefreshAndRevoke:
    def test_a_refresh_sends_the_refresh_token_and_gets_a_new_pair(self) -> None:
        with server(said(TOKENS | {"access_token": "ksu_2"})) as (transport, script):
            assert "ksu_2" == oauth.refresh(transport, "ksr_0", Deadline(60)).access_token

        sent = parse_qs(script.requests[0][1].decode())
        assert (["refresh_token"], ["ksr_0"]) == (sent["grant_type"], sent["refresh_token"])

    def test_a_sign_out_names_the_token(self) -> None:
        with server(said({})) as (transport, script):
            oauth.revoke(transport, "ksr_0")

        assert script.requests[0][0].startswith("POST /oauth/revoke ")
        assert ["ksr_0"] == parse_qs(script.requests[0][1].decode())["token"]

    def test_a_sign_out_that_the_server_refuses_is_told(self) -> None:
        refusing = oauth_error("invalid_client", "401 Unauthorized")
        with server(refusing) as (transport, _), pytest.raises(KeyseatError) as caught:
            oauth.revoke(transport, "ksr_0")

        assert "invalid_client" in caught.value.message
