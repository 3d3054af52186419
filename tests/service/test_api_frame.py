"""What holds for every call: tokens, problem documents, sizes, headers, limits, health and figures."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

import shop
from activation import NONCE, Clock, Site, make_key, problem, serve_here
from databases import Ledger
from keyseat_issuer.api import auth, threads
from keyseat_issuer.api.logs import JsonFormatter
from keyseat_issuer.api.service import Service
from keyseat_issuer.api.throttle import Throttle
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.models import ApiKey, Organization
from keyseat_issuer.ledger.sessions import desk
from keyseat_issuer.ledger.tools import bounds
from keyseat_issuer.server.app import create_app
from keyseat_issuer.server.pages import FewAtOnce
from keyseat_shared.trust import TrustBundle
from service_program import VendorTrust
from vendor import MACHINE, Vendor

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)

RENEW = "/api/v1/sessions/01890a5d-ac96-774b-bcce-b302099a8057/renew"


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation")
    shop.subscribe(made, {"KRE": 2})
    return made


@pytest.fixture
def site(customer: Organization) -> Iterator[Site]:
    with serve_here() as running:
        running.key = make_key(customer)
        yield running


@pytest.mark.parametrize("ask", [Site.acquire, lambda site: site.call("GET", "/api/v1/offline-licenses")])
def test_whatever_a_call_waits_for_ends_at_one_instant(
    site: Site, ask: Callable[[Site], httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[float] = []
    for module in (threads, desk):
        monkeypatch.setattr(module, "within", lambda end: (ends.append(end), bounds.within(end))[1])

    answer = ask(site)

    assert answer.is_success
    assert (2, 1) == (len(ends), len(set(ends)))


@pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/organizations", "/sign-in"])
def test_who_is_still_sending_when_the_service_stops_is_told(ledger: Ledger, path: str) -> None:
    async def nobody(_scope: object, _receive: object, _send: object) -> None:
        msg = "this request was not whole"
        raise AssertionError(msg)

    async def story() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        reading = asyncio.Event()

        async def receive() -> dict[str, Any]:
            reading.set()
            await asyncio.Event().wait()
            return {}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(dict(message))

        app = create_app(Service(VendorTrust(Vendor())), web=lambda: FewAtOnce(nobody))
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "state": {}}
        call = asyncio.create_task(app(scope, receive, send))
        await reading.wait()
        call.cancel()
        await call
        return sent

    assert 503 == asyncio.run(story())[0]["status"]


class TestTokens:
    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            ("", "missing"),
            ("ksk_short", "unknown"),
            ("ksk_00000000_000000000000000000000000000000000000Ab", "unknown"),
            ("nonsense", "unknown"),
            ("x" * 5000, "unknown"),
        ],
    )
    def test_that_are_missing_or_wrong_are_told_apart(self, site: Site, token: str, reason: str) -> None:
        answer = site.acquire(key=token)

        assert (401, "NOT_ALLOWED", reason) == problem(answer)
        assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_mistyped_in_one_character_are_recognised_as_such(self, site: Site) -> None:
        wrong = site.key[:-9] + ("a" if site.key[-9] != "a" else "b") + site.key[-8:]

        answer = site.acquire(key=wrong)

        assert (401, "NOT_ALLOWED", "unknown") == problem(answer)
        assert "mistyped" in answer.json()["detail"]

    def test_that_were_revoked_stop_working(self, site: Site, customer: Organization) -> None:
        key = make_key(customer)
        api_keys.revoke_key(customer, key[4:12], actor="test", now=shop.NOW)

        assert (401, "NOT_ALLOWED", "revoked") == problem(site.acquire(key=key))

    def test_expire_at_their_instant(self, site: Site, customer: Organization) -> None:
        key = make_key(customer, expires_at=shop.NOW + timedelta(days=1))
        site.clock.advance(days=1)

        assert (401, "NOT_ALLOWED", "expired") == problem(site.acquire(key=key))

    def test_without_the_scope_are_refused(self, site: Site, customer: Organization) -> None:
        answer = site.acquire(key=make_key(customer, "audit:read"))

        assert (403, "NOT_ALLOWED", None) == problem(answer)
        assert "sessions" == answer.json()["details"]["scope"]

    def test_in_cookies_or_query_parameters_do_not_count(self, site: Site) -> None:
        answer = site.call("POST", f"/api/v1/sessions?access_token={site.key}", {}, key="", Cookie=f"token={site.key}")

        assert (401, "NOT_ALLOWED", "missing") == problem(answer)

    def test_are_kept_as_hashes_and_remember_when_they_were_used(self, site: Site) -> None:
        site.acquire()

        row = ApiKey.objects.get()
        assert shop.NOW == row.last_used_at
        assert site.key not in json.dumps({key: str(value) for key, value in vars(row).items()})


class TestProblems:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/api/v1/nothing", 404, "NOT_FOUND"),
            ("GET", "/api/v1/sessions", 405, "INVALID_INPUT"),
            ("PATCH", RENEW, 405, "INVALID_INPUT"),
            ("GET", "/nothing/here", 404, "NOT_FOUND"),
            ("POST", "/api/v1/sessions/not-an-id/renew", 404, "NOT_FOUND"),
            ("DELETE", "/api/v1/sessions/01890A5D-AC96-774B-BCCE-B302099A8057", 404, "NOT_FOUND"),
        ],
    )
    def test_tell_of_wrong_paths_and_methods(self, site: Site, method: str, path: str, status: int, code: str) -> None:
        answer = site.call(method, path, {"machine_id": str(MACHINE), "nonce": NONCE} if method == "POST" else None)

        assert (status, code, None) == problem(answer)

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"", 400, "MALFORMED"),
            (b"[]", 400, "MALFORMED"),
            (b'{"product": "KRE", "product": "KSE"}', 400, "MALFORMED"),
            (b'{"product": NaN}', 400, "MALFORMED"),
            (b"\xff\xfe{}", 400, "MALFORMED"),
            (b'{"a":' * 100 + b"1" + b"}" * 100, 400, "MALFORMED"),
            (b"{}", 422, "INVALID_INPUT"),
        ],
    )
    def test_tell_of_bodies_that_cannot_be_read(self, site: Site, body: bytes, status: int, code: str) -> None:
        assert (status, code, None) == problem(site.call("POST", "/api/v1/sessions", body))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("product", None),
            ("product", "K R E"),
            ("machine_id", "mid1nonsense"),
            ("machine_id", 7),
            ("nonce", "short"),
            ("nonce", "n" * 22 + "\n"),
            ("organization", "not-an-id"),
            ("release_previous", "yes"),
        ],
    )
    def test_name_the_field_that_is_wrong(self, site: Site, field: str, value: object) -> None:
        body = {"product": "KRE", "machine_id": str(MACHINE), "nonce": NONCE, field: value}

        answer = site.call("POST", "/api/v1/sessions", body, Idempotency_Key="12345678")

        assert (422, "INVALID_INPUT", None) == problem(answer)
        assert field == answer.json()["details"]["field"]

    def test_name_the_missing_idempotency_key(self, site: Site) -> None:
        body = {"product": "KRE", "machine_id": str(MACHINE), "nonce": NONCE}

        answer = site.call("POST", "/api/v1/sessions", body)

        assert "Idempotency-Key" == answer.json()["details"]["field"]

    def test_answer_a_ledger_that_is_down_with_when_to_come_back(self, site: Site, ledger: Ledger) -> None:
        from django.db import connections  # noqa: PLC0415 - Django is set up by a fixture

        with connections["default"].cursor() as cursor:
            cursor.execute("ALTER TABLE ledger_lease RENAME TO gone")

        answer = site.acquire()

        assert (503, "LEDGER_UNAVAILABLE", None) == problem(answer)
        assert 1 <= int(answer.headers["retry-after"])

    def test_a_clock_set_back_stops_the_service_rather_than_the_ledgers_time(self, site: Site) -> None:
        site.clock.advance(minutes=-6)

        assert (503, "CLOCK_ROLLED_BACK", None) == problem(site.acquire())


class TestSizes:
    def test_over_64_kib_are_refused_before_they_are_read(self, site: Site) -> None:
        assert (413, "INVALID_INPUT", None) == problem(site.call("POST", "/api/v1/sessions", b"x" * 65_537))

    @pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/trust", "/nothing"])
    def test_are_counted_where_no_length_is_declared(self, site: Site, path: str) -> None:
        answer = httpx.post(
            f"{site.url}{path}",
            content=(b"x" * 1000 for _ in range(70)),
            headers={"Authorization": f"Bearer {site.key}"},
            trust_env=False,
        )

        assert (413, "INVALID_INPUT", None) == problem(answer)


class TestHeaders:
    def test_repeat_a_sane_request_id_and_replace_any_other(self, site: Site) -> None:
        sane = site.call("GET", "/healthz", X_Request_Id="build-1234")
        wild = site.call("GET", "/healthz", X_Request_Id='"<script>"')

        assert "build-1234" == sane.headers["x-request-id"]
        assert '"<script>"' != wild.headers["x-request-id"]
        refused = site.acquire("XYZ")
        assert refused.headers["x-request-id"] == refused.json()["request_id"]

    @pytest.mark.parametrize("path", ["/healthz", "/api/v1/trust", "/api/v1/nothing", "/openapi.json"])
    def test_keep_answers_from_being_framed_sniffed_or_leaked(self, site: Site, path: str) -> None:
        headers = site.call("GET", path).headers

        assert ("nosniff", "no-referrer", "default-src 'none'; frame-ancestors 'none'") == (
            headers["x-content-type-options"],
            headers["referrer-policy"],
            headers["content-security-policy"],
        )
        assert "server" not in headers


class TestLimits:
    def test_stop_a_token_that_calls_too_often_and_say_when_it_may_again(self, customer: Organization) -> None:
        with serve_here(throttle=Throttle(calls="3/hour")) as site:
            site.key = make_key(customer)
            answers = [site.renew("01890a5d-ac96-774b-bcce-b302099a8057") for _ in range(5)]
            other = site.renew("01890a5d-ac96-774b-bcce-b302099a8057", key=make_key(customer))

        assert [404, 404, 404, 429, 429] == [answer.status_code for answer in answers]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 7200
        assert 404 == other.status_code

    def test_stop_guessing_even_with_a_forged_address(self, customer: Organization) -> None:
        with serve_here(throttle=Throttle(failures="3/hour")) as site:
            answers = [site.acquire(key=f"guess-{n}", X_Forwarded_For=f"198.51.100.{n}") for n in range(5)]
            answers += [
                site.call("POST", RENEW, {}, key=f"guess-{n}", X_Forwarded_For=f"198.51.100.{n}") for n in range(2)
            ]

        assert [401, 401, 401, 429, 429, 429, 429] == [answer.status_code for answer in answers]

    def test_leave_tokens_alone_that_are_known_to_be_good(self, customer: Organization) -> None:
        with serve_here(throttle=Throttle(failures="1/hour")) as site:
            site.key = make_key(customer)
            assert 201 == site.acquire().status_code
            site.acquire(key="guess-1")
            site.acquire(key="guess-2")

            assert 201 == site.acquire().status_code

    def test_leave_them_alone_also_when_they_have_to_be_looked_up_again(
        self, customer: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(auth, "REMEMBER", -1.0)
        with serve_here(throttle=Throttle(failures="1/hour")) as site:
            site.key = make_key(customer)
            site.acquire()
            guesses = [site.acquire(key=f"guess-{n}").status_code for n in range(2)]
            found = [site.acquire().status_code]
            api_keys.revoke_key(customer, site.key, actor="test", now=site.clock.now)
            found += [site.acquire().status_code for _ in range(2)]

        assert ([401, 429], [201, 401, 429]) == (guesses, found)

    def test_do_not_count_calls_without_a_token_as_guesses(self, customer: Organization) -> None:
        with serve_here(throttle=Throttle(failures="1/hour")) as site:
            nobody = [site.acquire(key="").status_code for _ in range(3)]

            assert ([401] * 3, 201) == (nobody, site.acquire(key=make_key(customer)).status_code)

    def test_count_by_the_address_that_trusted_proxies_saw(self, customer: Organization) -> None:
        with serve_here(throttle=Throttle(failures="1/hour"), trusted_proxies=1) as site:
            first = site.call("POST", RENEW, {}, key="guess", X_Forwarded_For="203.0.113.9, 198.51.100.1")
            forged = site.call("POST", RENEW, {}, key="guess", X_Forwarded_For="203.0.113.8, 198.51.100.1")
            other = site.call("POST", RENEW, {}, key="guess", X_Forwarded_For="203.0.113.9, 198.51.100.2")

        assert [401, 429, 401] == [first.status_code, forged.status_code, other.status_code]


class TestTrust:
    def test_is_given_to_everybody_and_once_only(self, site: Site) -> None:
        answer = site.call("GET", "/api/v1/trust", key="")
        again = site.call("GET", "/api/v1/trust", key="", If_None_Match=answer.headers["etag"])

        assert TrustBundle.from_bytes(answer.content).data == answer.content
        assert (304, b"") == (again.status_code, again.content)

    def test_of_each_version_is_given_to_everybody(self, site: Site) -> None:
        old = site.vendor.history[1] = site.vendor.bundle_bytes()
        site.vendor.version = 2
        answer = site.call("GET", "/api/v1/trust/1", key="")
        again = site.call("GET", "/api/v1/trust/1", key="", If_None_Match=answer.headers["etag"])

        assert (old, "public, max-age=86400") == (answer.content, answer.headers["cache-control"])
        assert (304, b"") == (again.status_code, again.content)
        assert site.call("GET", "/api/v1/trust", key="").content == site.call("GET", "/api/v1/trust/2", key="").content

    @pytest.mark.parametrize(("version", "status"), [("3", 404), ("0", 422), ("-1", 422), ("x", 422), ("9" * 30, 422)])
    def test_of_a_version_that_is_not_there_is_a_problem(self, site: Site, version: str, status: int) -> None:
        assert status == site.call("GET", f"/api/v1/trust/{version}", key="").status_code

    def test_versions_count_as_open_calls(self, customer: Organization) -> None:
        with serve_here(throttle=Throttle(open_calls="1/hour")) as site:
            assert [200, 429] == [site.call("GET", "/api/v1/trust/1", key="").status_code for _ in range(2)]


class TestOperation:
    def test_liveness_readiness_and_figures_need_no_token(self, site: Site) -> None:
        site.acquire()

        assert {"status": "ok"} == site.call("GET", "/healthz", key="").json()
        assert {"status": "ready", "lacks": [], "warnings": []} == site.call("GET", "/readyz", key="").json()
        figures = site.call("GET", "/metrics", key="").text
        assert 'keyseat_requests_total{method="POST",route="/api/v1/sessions",status="201"} 1.0' in figures
        assert 'keyseat_seats_used{product="KRE"} 1.0' in figures

    def test_figures_are_not_given_through_a_proxy(self, site: Site) -> None:
        assert (403, "NOT_ALLOWED", None) == problem(site.call("GET", "/metrics", X_Forwarded_For="198.51.100.1"))

    def test_readiness_fails_where_the_ledger_is_not_migrated(self, site: Site) -> None:
        from django.db import connections  # noqa: PLC0415 - Django is set up by a fixture

        with connections["default"].cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'ledger'")

        assert (503, "LEDGER_UNAVAILABLE", None) == problem(site.call("GET", "/readyz"))

    def test_logs_hold_no_token(self, customer: Organization, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG), serve_here() as site:
            site.key = make_key(customer)
            site.acquire()
            site.call("GET", f"/api/v1/trust?token={site.key}")
            site.acquire("XYZ", machine=MACHINE)

        lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records if record.name != "httpx"]
        assert {"route", "status", "request_id", "milliseconds", "client"} <= set().union(*lines)
        assert not [line for line in lines if site.key[13:] in json.dumps(line)]


def test_the_desk_answers_a_broken_request_without_failing_its_neighbours(site: Site) -> None:
    answers = [site.acquire(), site.acquire("XYZ"), site.acquire()]

    assert [201, 404, 201] == [answer.status_code for answer in answers]


def test_the_clock_of_the_service_is_the_one_it_was_given(customer: Organization) -> None:
    with serve_here(clock=Clock(shop.NOW + timedelta(days=3))) as site:
        site.key = make_key(customer)

        assert "2023-06-04T12:00:00Z" == site.acquire().json()["server_time"]
