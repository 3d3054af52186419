"""The device authorization grant over real HTTP: what clients and people see (RFC 8628)."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from console_site import Counter
from databases import Ledger
from keyseat_issuer.server.pages import FewAtOnce, build
from keyseat_issuer.web.models import ClientSignIn
from keyseat_issuer.web.tokens import authenticate
from web_server import PASSWORD, Answer, Http, five_minutes_later, make_account, serve

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ADA = "ada@example.com"


@pytest.fixture
def site(ledger: Ledger) -> Iterator[str]:
    make_account(ADA)
    with serve() as origin:
        yield origin


def ask(site: str, **extra: str) -> dict[str, object]:
    answer = Http(site).request("/oauth/device", {"client_id": "keyseat", "device_name": "build-7", **extra})
    assert answer.status == 200, answer.text
    return answer.json()


def poll(site: str, device_code: object) -> Answer:
    form = {"grant_type": GRANT, "client_id": "keyseat", "device_code": str(device_code)}
    return Http(site).request("/oauth/token", form)


def answer_code(site: str, user_code: object, action: str, email: str = ADA) -> Answer:
    person = Http(site)
    person.sign_in(email, PASSWORD)
    return person.post_page("/device", {"user_code": str(user_code), "action": action})


WRONG_REQUESTS: list[tuple[str, dict[str, str], int, str]] = [
    ("/oauth/device", {}, 401, "invalid_client"),
    ("/oauth/device", {"client_id": "other"}, 401, "invalid_client"),
    ("/oauth/device", {"client_id": "keyseat", "scope": "everything"}, 400, "invalid_scope"),
    ("/oauth/token", {"client_id": "keyseat"}, 400, "invalid_request"),
    ("/oauth/token", {"client_id": "keyseat", "grant_type": "password"}, 400, "unsupported_grant_type"),
    ("/oauth/token", {"client_id": "keyseat", "grant_type": GRANT}, 400, "invalid_request"),
    ("/oauth/token", {"client_id": "keyseat", "grant_type": GRANT, "device_code": "x"}, 400, "invalid_grant"),
    ("/oauth/token", {"client_id": "keyseat", "grant_type": "refresh_token"}, 400, "invalid_request"),
    ("/oauth/revoke", {"client_id": "keyseat"}, 400, "invalid_request"),
]


class TestAClientWithoutABrowser:
    def test_is_signed_in_once_the_person_has_approved_its_code(self, site: str) -> None:
        asked = ask(site)
        assert poll(site, asked["device_code"]).json() == {"error": "authorization_pending"}
        assert "Signed in" in answer_code(site, asked["user_code"], "approve").text

        got = poll(site, asked["device_code"])

        assert (200, "Bearer", 3600, "sessions") == (
            got.status,
            got.json()["token_type"],
            got.json()["expires_in"],
            got.json()["scope"],
        )
        identity = authenticate(str(got.json()["access_token"]))
        assert identity is not None
        assert (ADA, frozenset({"sessions"})) == (identity.email, identity.scopes)

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_is_told_what_rfc_8628_says_it_is_told(self, site: str) -> None:
        asked = ask(site)

        assert {
            "device_code",
            "user_code",
            "verification_uri",
            "verification_uri_complete",
            "expires_in",
            "interval",
        } == set(asked)
        assert f"{site}/device" == asked["verification_uri"]
        complete = parse_qs(urlsplit(str(asked["verification_uri_complete"])).query)
        assert {"user_code": [asked["user_code"]]} == complete
        assert (900, 5) == (asked["expires_in"], asked["interval"])

    def test_gets_tokens_for_a_code_only_once(self, site: str) -> None:
        asked = ask(site)
        answer_code(site, asked["user_code"], "approve")
        assert poll(site, asked["device_code"]).status == 200

        again = poll(site, asked["device_code"])

        assert (400, "invalid_grant") == (again.status, again.json()["error"])

    def test_that_polls_from_many_threads_at_once_gets_one_pair(self, site: str) -> None:
        asked = ask(site)
        answer_code(site, asked["user_code"], "approve")
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(poll(site, asked["device_code"]).status)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [200] + [400] * 7 == sorted(statuses)

    def test_is_told_to_slow_down_when_it_polls_too_quickly(self, site: str) -> None:
        asked = ask(site)
        poll(site, asked["device_code"])

        assert {"error": "slow_down"} == poll(site, asked["device_code"]).json()

    def test_is_told_when_the_person_denied(self, site: str) -> None:
        asked = ask(site)
        assert "Denied" in answer_code(site, asked["user_code"], "deny").text

        assert (400, {"error": "access_denied"}) == (
            poll(site, asked["device_code"]).status,
            poll(site, asked["device_code"]).json(),
        )

    def test_renews_its_tokens_and_signs_out(self, site: str) -> None:
        asked = ask(site)
        answer_code(site, asked["user_code"], "approve")
        first = poll(site, asked["device_code"]).json()
        form = {"grant_type": "refresh_token", "client_id": "keyseat", "refresh_token": str(first["refresh_token"])}

        second = Http(site).request("/oauth/token", form).json()

        assert first["refresh_token"] != second["refresh_token"]
        assert authenticate(str(second["access_token"])) is not None
        ended = Http(site).request("/oauth/revoke", {"client_id": "keyseat", "token": str(second["refresh_token"])})
        assert ended.status == 200
        assert authenticate(str(second["access_token"])) is None
        form["refresh_token"] = str(second["refresh_token"])
        assert Http(site).request("/oauth/token", form).json()["error"] == "invalid_grant"


class TestARequest:
    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_that_is_wrong_gets_oauths_own_error(self, site: str) -> None:
        for path, form, status, error in WRONG_REQUESTS:
            answer = Http(site).request(path, form)

            assert (path, form, status, error) == (path, form, answer.status, answer.json()["error"])
            assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_with_a_parameter_twice_is_refused(self, site: str) -> None:
        answer = Http(site).request("/oauth/device", [("client_id", "keyseat"), ("client_id", "keyseat")])

        assert (400, "invalid_request") == (answer.status, answer.json()["error"])

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_that_a_page_made_a_browser_send_is_refused_and_uses_up_nothing(self, site: str) -> None:
        for _ in range(31):
            answer = Http(site).request("/oauth/device", {"client_id": "keyseat"}, {"Origin": "https://evil.example"})

        assert (400, "invalid_request") == (answer.status, answer.json()["error"])
        assert "user_code" in ask(site)

    def test_in_json_is_refused(self, site: str) -> None:
        answer = Http(site).request("/oauth/token", body=b"{}", headers={"Content-Type": "application/json"})

        assert (400, "invalid_request") == (answer.status, answer.json()["error"])

    def test_for_more_codes_than_one_network_needs_has_to_wait(self, site: str) -> None:
        for _ in range(30):
            ask(site)

        refused = Http(site).request("/oauth/device", {"client_id": "keyseat"})

        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 600
        # A header that anybody can write does not make another network of it.
        spoofed = Http(site).request("/oauth/device", {"client_id": "keyseat"}, {"X-Forwarded-For": "203.0.113.9"})
        assert spoofed.status == 429


class TestThePersonWhoIsAsked:
    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_sees_which_program_on_which_machine_asks(self, site: str) -> None:
        asked = ask(site, device_name="build-7 <b>\x07")
        person = Http(site)
        person.sign_in(ADA, PASSWORD)

        page = person.post_page("/device", {"user_code": str(asked["user_code"]).lower().replace("-", " ")})

        assert page.status == 200
        for shown in ("build-7 &lt;b&gt;", "127.0.0.1", ADA, "activate licences and hold sessions as you"):
            assert shown in page.text
        assert poll(site, asked["device_code"]).json() == {"error": "authorization_pending"}

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_approves_nothing_by_following_a_link(self, site: str) -> None:
        asked = ask(site)
        person = Http(site)
        person.sign_in(ADA, PASSWORD)

        page = person.request(str(asked["verification_uri_complete"]) + "&action=approve")

        assert str(asked["user_code"]) in page.text
        assert poll(site, asked["device_code"]).json() == {"error": "authorization_pending"}

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_must_be_signed_in(self, site: str) -> None:
        answer = Http(site).request("/device?user_code=BCDF-GHJK")

        assert answer.status == 302
        assert answer.headers["Location"].startswith("/sign-in?next=/device")

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_cannot_be_made_to_approve_by_another_site(self, site: str) -> None:
        asked = ask(site)
        person = Http(site)
        person.sign_in(ADA, PASSWORD)

        forged = person.request("/device", {"user_code": str(asked["user_code"]), "action": "approve"})

        assert forged.status == 403
        assert poll(site, asked["device_code"]).json() == {"error": "authorization_pending"}

    def test_cannot_guess_codes_for_long(self, site: str) -> None:
        asked = ask(site)
        person = Http(site)
        person.sign_in(ADA, PASSWORD)
        statuses = [person.post_page("/device", {"user_code": "BBBB-BBBB"}).status for _ in range(11)]

        assert [400] * 10 + [429] == statuses
        # The right code is no better than a guess until the limit is over.
        late = person.post_page("/device", {"user_code": str(asked["user_code"]), "action": "approve"})
        assert late.status == 429
        assert int(late.headers["Retry-After"]) > 0

    @pytest.mark.parametrize("scope", ["admin", "sessions admin"])
    def test_gives_the_password_again_before_a_program_may_manage_the_organisation(self, site: str, scope: str) -> None:
        """Else whoever finds a browser open takes a token away that makes keys and gives ownership away."""
        asked = ask(site, scope=scope)
        person = Http(site)
        person.sign_in(ADA, PASSWORD)
        five_minutes_later()
        approval = {"user_code": str(asked["user_code"]), "action": "approve"}
        suspended = person.post_page("/device", approval)

        assert (302, "/account/confirm?next=%2Fdevice") == (suspended.status, suspended.headers["Location"])
        assert poll(site, asked["device_code"]).json() == {"error": "authorization_pending"}

        before = int(time.time())
        page = "/account/confirm?next=/device"
        assert 200 == person.post_page(page, {"password": "wrong", "next": "/device"}).status
        assert poll(site, asked["device_code"]).json()["error"] in {"authorization_pending", "slow_down"}
        approved = person.post_page(page, {"password": PASSWORD, "next": "/device"})

        assert "is signed in as" in approved.text
        identity = authenticate(str(poll(site, asked["device_code"]).json()["access_token"]))
        assert identity is not None
        assert identity.authenticated_at is not None
        assert before <= identity.authenticated_at.timestamp() <= time.time()

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_is_not_asked_for_the_password_that_they_have_just_signed_in_with(self, site: str) -> None:
        asked = ask(site, scope="admin")
        person = Http(site)
        person.sign_in(ADA, PASSWORD)
        assert "asked for your password" not in person.post_page("/device", {"user_code": str(asked["user_code"])}).text
        approved = person.post_page("/device", {"user_code": str(asked["user_code"]), "action": "approve"})

        assert "is signed in as" in approved.text

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_approves_no_code_that_they_left_by_confirming_something_else_later(self, site: str) -> None:
        asked = ask(site, scope="admin")
        person = Http(site)
        person.sign_in(ADA, PASSWORD)
        five_minutes_later()
        person.post_page("/device", {"user_code": str(asked["user_code"]), "action": "approve"})
        person.request("/device")
        person.post_page("/account/confirm?next=/device", {"password": PASSWORD, "next": "/device"})

        assert poll(site, asked["device_code"]).json() == {"error": "authorization_pending"}

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_needs_no_password_to_deny(self, site: str) -> None:
        asked = ask(site, scope="admin")
        answer_code(site, asked["user_code"], "deny")

        assert poll(site, asked["device_code"]).json() == {"error": "access_denied"}

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_is_not_asked_by_a_renewed_token_again(self, site: str) -> None:
        """Renewing is no proof: the time of the proof stays what it was."""
        asked = ask(site, scope="admin")
        person = Http(site)
        person.sign_in(ADA, PASSWORD)
        person.post_page("/device", {"user_code": str(asked["user_code"]), "action": "approve"})
        person.post_page("/account/confirm?next=/device", {"password": PASSWORD, "next": "/device"})
        first = poll(site, asked["device_code"]).json()
        form = {"grant_type": "refresh_token", "client_id": "keyseat", "refresh_token": str(first["refresh_token"])}
        ClientSignIn.objects.update(authenticated_at=datetime(2026, 1, 1, tzinfo=UTC))
        second = Http(site).request("/oauth/token", form).json()

        identity = authenticate(str(second["access_token"]))
        assert identity is not None
        assert datetime(2026, 1, 1, tzinfo=UTC) == identity.authenticated_at

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_can_enter_the_right_code_as_often_as_they_like(self, site: str) -> None:
        person = Http(site)
        person.sign_in(ADA, PASSWORD)
        code = {"user_code": str(ask(site)["user_code"])}

        assert [200] * 12 == [person.post_page("/device", code).status for _ in range(12)]


def test_pages_are_made_for_few_requests_at_a_time(ledger: Ledger) -> None:
    """Each takes a thread and a connection of the database, and anybody may send some hundred at once."""
    present, most = 0, 0

    async def whole() -> Message:
        return {"type": "http.request"}

    async def page(_scope: Scope, _receive: Receive, _send: Send) -> None:
        nonlocal present, most
        present += 1
        most = max(most, present)
        for _ in range(5):
            await asyncio.sleep(0)
        present -= 1

    async def ask_all(limited: FewAtOnce) -> None:
        await asyncio.gather(*[limited({}, whole, None) for _ in range(50)])  # type: ignore[arg-type] # not used

    asyncio.run(ask_all(FewAtOnce(page, 3)))

    assert (3, 0) == (most, present)
    [pages] = [route for route in build(Counter()).routes if isinstance(route, Mount) and route.name == "pages"]
    assert isinstance(pages.app, FewAtOnce)
