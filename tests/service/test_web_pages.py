"""The pages: who gets in, what is shown to whom, and what a browser is told to forbid."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver, reverse
from freezegun import freeze_time

import shop
from databases import Ledger
from keyseat_issuer.api.logs import JsonFormatter
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import AuditEvent, Role
from keyseat_issuer.web import adapters, device, tokens
from keyseat_issuer.web.accounts import reset_link
from keyseat_issuer.web.adapters import MFAAdapter
from keyseat_issuer.web.mail import MAIL_THREAD
from keyseat_issuer.web.models import DeviceAuthorization, RateWindow, User, UserToken
from keyseat_shared.errors import KeyseatError
from mail_server import mail_server
from web_server import PASSWORD, make_account

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA = "ada@example.com"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with freeze_time(NOW):
        yield


@pytest.fixture
def browser(ledger: Ledger) -> Client:
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def ada(ledger: Ledger) -> User:
    make_account(ADA)
    return User.objects.get(email=ADA)


def post(browser: Client, path: str, form: dict[str, str], **extra: str) -> "tuple[int, str, str]":
    """Post a page's form as a person does; returns status, address led to, and text."""
    token = CSRF.findall(browser.get(path).content.decode())[-1]
    answer = browser.post(path, {**form, "csrfmiddlewaretoken": token}, **extra)
    return answer.status_code, answer.headers.get("Location", ""), answer.content.decode()


def sign_in(browser: Client, email: str = ADA, password: str = PASSWORD, **extra: str) -> "tuple[int, str, str]":
    return post(browser, "/sign-in", {"login": email, "password": password}, **extra)


def mails_are_sent() -> None:
    """Wait for the mails that pages have sent off."""
    for thread in threading.enumerate():
        if thread.name == MAIL_THREAD:
            thread.join()


class TestSigningIn:
    def test_works_however_the_address_is_capitalised(self, browser: Client, ada: User) -> None:
        assert (302, "/") == sign_in(browser, "Ada@Example.COM")[:2]
        assert f"Signed in as <strong>{ADA}</strong>" in browser.get("/").content.decode()

    def test_works_with_a_domain_as_people_write_it(self, browser: Client) -> None:
        make_account(members.normalize_email("ada@bücher.example"))

        assert (302, "/") == sign_in(browser, "ada@bücher.example")[:2]

    def test_counts_wrong_passwords_of_an_address_in_all_its_spellings(self, browser: Client) -> None:
        make_account("ada@xn--bcher-kva.example")
        for email in ("ada@bücher.example", "ada@xn--bcher-kva.example", "ADA@Bücher.example") * 2:
            sign_in(browser, email, password="wrong")

        assert "Too many attempts. Try again in" in sign_in(browser, "ada@xn--bcher-kva.example")[2]

    def test_says_the_same_for_a_wrong_password_and_an_unknown_address(self, browser: Client, ada: User) -> None:
        wrong, unknown = sign_in(browser, password="wrong"), sign_in(browser, "eve@example.com")

        message = "The email address and/or password you specified are not correct."
        assert (200, True, True) == (wrong[0], message in wrong[2], message in unknown[2])

    def test_is_refused_after_five_wrong_passwords_even_with_the_right_one(self, browser: Client, ada: User) -> None:
        for _ in range(5):
            sign_in(browser, password="wrong")

        assert "Too many attempts. Try again in" in sign_in(browser)[2]

    def test_cannot_be_guessed_by_pretending_to_be_many_networks(self, browser: Client, ada: User) -> None:
        texts = [
            sign_in(browser, f"u{number}@example.com", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")[2]
            for number in range(11)
        ]

        assert [False] * 10 + [True] == ["Too many attempts. Try again in" in text for text in texts]

    def test_cannot_be_guessed_from_many_addresses_of_one_ipv6_network(self, browser: Client, ada: User) -> None:
        texts = [
            sign_in(browser, f"u{number}@example.com", REMOTE_ADDR=f"2001:db8:0:1::{number:x}")[2]
            for number in range(11)
        ]

        assert [False] * 10 + [True] == ["Too many attempts. Try again in" in text for text in texts]

    def test_is_impossible_for_a_deactivated_account(self, browser: Client, ada: User) -> None:
        User.objects.update(is_active=False)

        assert "not correct" in sign_in(browser)[2] or "/account/inactive" in sign_in(browser)[1]
        assert browser.get("/").status_code == 302

    def test_leads_nowhere_else(self, browser: Client, ada: User) -> None:
        form = {"login": ADA, "password": PASSWORD, "next": "https://evil.example/"}

        assert (302, "/") == post(browser, "/sign-in", form)[:2]

    def test_needs_the_second_factor_where_there_is_one(self, browser: Client, ada: User) -> None:
        with freeze_time(NOW):
            sign_in(browser)
            activate = "/account/second-factor/totp/activate/"
            assert 302 == browser.get(activate).status_code  # a password typed just now is asked for again
            confirmed = post(browser, f"/account/confirm?next={activate}", {"password": PASSWORD, "next": activate})
            assert (302, activate) == confirmed[:2]
            page = browser.get(activate).content.decode()
            secret = re.findall(r'id="authenticator_secret"[^>]*value="([A-Z2-7]+)"', page)[0]
            # Each visit makes a new secret: the form of this page is the one that counts.
            form = {"code": totp(secret), "csrfmiddlewaretoken": CSRF.findall(page)[-1]}
            assert 302 == browser.post(activate, form).status_code
        assert secret not in str([*Authenticator.objects.values()])

        later = NOW + timedelta(minutes=5)
        with freeze_time(later):
            fresh = Client(enforce_csrf_checks=True)
            assert "/account/second-factor/authenticate/" == sign_in(fresh)[1]
            assert fresh.get("/").status_code == 302
            assert "Incorrect code" in post(fresh, "/account/second-factor/authenticate/", {"code": "000000"})[2]
            done = post(fresh, "/account/second-factor/authenticate/", {"code": totp(secret)})
            assert (302, "/") == done[:2]
            assert fresh.get("/").status_code == 200

    def test_does_not_let_a_second_factor_count_that_cannot_be_read(
        self, browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seed = MFAAdapter().encrypt("JBSWY3DPEHPK3PXP")
        Authenticator.objects.create(user=ada, type="totp", data={"secret": seed})
        sign_in(browser)
        page = "/account/second-factor/authenticate/"
        before = settings.SECRET_KEY
        # The signed-in half of the session must survive, so the old secret signs but does not decrypt.
        monkeypatch.setattr(settings, "SECRET_KEY", "another secret of the server, long enough to be one of them")
        monkeypatch.setattr(adapters, "_fernet", lambda: MultiFernet([Fernet(adapters._key(settings.SECRET_KEY))]))
        monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [before])
        browser.get(page)
        for secret in ("JBSWY3DPEHPK3PXP", ""):
            status, _, text = post(browser, page, {"code": totp(secret)})
            assert (503, True) == (status, "forget the second factor for you" in text)
        assert 302 == browser.get("/").status_code

    def test_clears_out_what_has_expired(self, browser: Client, ada: User) -> None:
        device.start(client_id="keyseat", scopes=(), device_name="", address=None, now=NOW)
        tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name="", now=NOW)
        RateWindow.objects.create(key="old", ends_at=NOW)
        with freeze_time(NOW + timedelta(days=61)):
            sign_in(browser)

        assert [0, 0, 0] == [table.objects.count() for table in (DeviceAuthorization, UserToken, RateWindow)]


class TestAForgottenPassword:
    @pytest.fixture(autouse=True)
    def mailing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1")

    @pytest.mark.parametrize("host", ["license.example.com:1337", "license.example.com.", "LICENSE.example.com"])
    def test_gets_a_link_to_the_public_url_whatever_the_request_says(
        self, browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        monkeypatch.setattr(settings, "KEYSEAT_PUBLIC_ORIGIN", "https://license.example.com")
        monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["license.example.com"])
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
        monkeypatch.setattr(mail, "outbox", [], raising=False)
        spoofed = {
            "HTTP_HOST": host,
            "HTTP_X_FORWARDED_HOST": "evil.example",
            "HTTP_X_FORWARDED_PORT": "1337",
            "HTTP_FORWARDED": "host=evil.example",
        }
        page = browser.get("/account/password/reset", headers={}, **spoofed)
        token = CSRF.findall(page.content.decode())[-1]
        sent = browser.post("/account/password/reset", {"email": ADA, "csrfmiddlewaretoken": token}, **spoofed)
        mails_are_sent()

        assert 302 == sent.status_code
        [message] = mail.outbox
        assert re.search(r"https://license\.example\.com/account/password/reset/key/\S+", message.body)
        assert (False, False) == ("1337" in message.body, "evil" in message.body)
        assert "license.example.com." not in message.body.replace("license.example.com/", "")

    def test_of_a_server_without_a_public_url_gets_a_link_to_its_own_socket(
        self, browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
        monkeypatch.setattr(mail, "outbox", [], raising=False)
        served = {"HTTP_HOST": "localhost:1337", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8123"}
        token = CSRF.findall(browser.get("/account/password/reset", **served).content.decode())[-1]
        browser.post("/account/password/reset", {"email": ADA, "csrfmiddlewaretoken": token}, **served)
        mails_are_sent()

        [message] = mail.outbox
        assert "http://127.0.0.1:8123/account/password/reset/key/" in message.body
        assert "1337" not in message.body

    def test_is_told_whom_to_ask_where_no_mail_is_sent(
        self, browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("EMAIL_URL")
        token = CSRF.findall(browser.get("/sign-in").content.decode())[-1]
        page = browser.get("/account/password/reset")
        sent = [
            browser.post("/account/password/reset", {"email": email, "csrfmiddlewaretoken": token})
            for email in (ADA, "nobody@example.com")
        ]

        assert [200, 503, 503] == [answer.status_code for answer in (page, *sent)]
        assert "Ask whoever runs this server" in page.content.decode()
        assert 1 == len({answer.content for answer in sent})

    def test_is_set_anew_by_the_link_that_an_operator_hands_over(self, browser: Client, ada: User) -> None:
        link = reset_link(ADA, actor="test", now=NOW)
        form = browser.get(urlsplit(link).path).headers["Location"]
        new = "an even better horse"

        assert 302 == post(browser, form, {"password1": new, "password2": new})[0]
        assert 302 == sign_in(Client(), password=new)[0]
        assert "invalid" in Client().get(urlsplit(link).path).content.decode()
        assert ["account.reset-link-made"] == list(AuditEvent.objects.values_list("action", flat=True))

    def test_of_an_account_that_is_shut_off_gets_no_link(self, ada: User) -> None:
        User.objects.update(is_active=False)
        with pytest.raises(KeyseatError, match="is shut off"):
            reset_link(ADA, actor="test", now=NOW)

    def test_is_replaced_by_a_link_that_works_once(
        self, browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mail, "outbox", [], raising=False)
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
        pair = tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name="", now=NOW)
        assert (302, "/account/password/reset/sent") == post(browser, "/account/password/reset", {"email": ADA})[:2]
        mails_are_sent()
        [sent] = mail.outbox
        [link] = re.findall(r"http://127.0.0.1:80(/account/password/reset/key/\S+)", sent.body)
        form = browser.get(link).headers["Location"]  # without the key, which is kept in the session
        new = "an even better horse"
        assert 302 == post(browser, form, {"password1": new, "password2": new})[0]

        assert [ADA] == sent.to
        assert "not correct" in sign_in(Client())[2]
        assert 302 == sign_in(Client(), password=new)[0]
        assert tokens.authenticate(pair.access_token, NOW) is None
        assert "invalid" in Client().get(link).content.decode()

    def test_does_not_tell_who_has_an_account(self, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mail, "outbox", [], raising=False)
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
        answer = post(browser, "/account/password/reset", {"email": "nobody@example.com"})
        mails_are_sent()

        assert (302, "/account/password/reset/sent") == answer[:2]
        assert [] == mail.outbox

    def test_says_the_same_for_all_with_the_mail_server_away_and_the_log_names_nobody(
        self, browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        with mail_server(most=0) as server:
            monkeypatch.setattr(settings, "EMAIL_PORT", server.port)
            monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
            answers = {
                post(browser, "/account/password/reset", {"email": email})[:2] for email in (ADA, "nobody@example.com")
            }
            mails_are_sent()

        assert {(302, "/account/password/reset/sent")} == answers
        assert 1 == server.connections
        assert "a mail was not sent: SMTPServerDisconnected" in caplog.text
        assert ADA not in caplog.text


def totp(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


class TestNobody:
    def test_signs_up_by_themselves(self, browser: Client) -> None:
        named = {name for name in get_resolver().reverse_dict if isinstance(name, str)}

        assert not {name for name in named if "signup" in name or name == "account_email"}
        assert [404, 404] == [browser.get(path).status_code for path in ("/signup", "/accounts/signup/")]

    def test_sees_a_page_without_signing_in_but_the_few_that_must_be_open(self, browser: Client) -> None:
        open_to_all = {
            "account_login",
            "account_inactive",
            "account_reset_password",
            "account_reset_password_done",
            "account_reset_password_from_key_done",
            "invitation_link",
            "invitation",
            "oauth_device",
            "oauth_token",
            "oauth_revoke",
        }
        found = set()
        for name in get_resolver().reverse_dict:
            arguments = {
                "end_client": ["0190b6a0-0000-7000-8000-000000000000"],
                "account_reset_password_from_key": ["1", "x"],
            }
            if isinstance(name, str) and not name.startswith("console_"):  # they have a test of their own
                answer = browser.get(reverse(name, args=arguments.get(name, [])))
                if not (answer.status_code == 302 and answer.headers["Location"].startswith("/sign-in")):
                    found.add(name)

        assert found - {"account_reset_password_from_key"} == open_to_all


class TestAPersonsHome:
    def test_shows_their_organisations_and_nobody_elses(self, browser: Client, ada: User) -> None:
        org = shop.organization("Example Organisation", ADA, now=NOW)
        shop.organization("Secret Organisation", now=NOW)
        shop.subscribe(org, {"KSE": 2}, starts_at=NOW, ends_at=NOW.replace(year=2027), now=NOW)
        shop.assign(org, "KSE", ADA, now=NOW)
        with freeze_time(NOW):
            sign_in(browser)
            page = browser.get("/").content.decode()

        assert "Example Organisation" in page
        assert "KSE: assigned to you" in page
        assert "Secret" not in page

    def test_escapes_names(self, browser: Client, ada: User) -> None:
        org = shop.organization("<script>alert(1)</script>", now=NOW)
        members.add_members(org, [ADA], Role.MEMBER, actor="test", now=NOW)
        sign_in(browser)

        assert "<script>alert" not in browser.get("/").content.decode()

    def test_signs_a_program_out(self, browser: Client, ada: User) -> None:
        pair = tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name="build-7", now=NOW)
        sign_in(browser)
        page = browser.get("/").content.decode()
        assert "build-7" in page
        [path] = re.findall(r'action="(/clients/[^"]+)"', page)
        token = CSRF.findall(page)[-1]

        assert 302 == browser.post(path, {"csrfmiddlewaretoken": token}).status_code
        assert tokens.authenticate(pair.access_token, NOW) is None

    def test_lists_no_program_whose_sign_in_ran_out_unused(self, browser: Client, ada: User) -> None:
        for name, ago in (("build-7", tokens.REFRESH_TTL), ("build-8", tokens.REFRESH_TTL - timedelta(seconds=1))):
            tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name=name, now=NOW - ago)
        sign_in(browser)
        page = browser.get("/").content.decode()

        assert [False, True] == ["build-7" in page, "build-8" in page]

    def test_signs_no_other_persons_program_out(self, browser: Client, ada: User) -> None:
        make_account("eve@example.com")
        pair = tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name="", now=NOW)
        sign_in(browser, "eve@example.com")
        token = CSRF.findall(browser.get("/").content.decode())[-1]
        path = reverse("end_client", args=[ada.client_sign_ins.get().pk])

        assert 404 == browser.post(path, {"csrfmiddlewaretoken": token}).status_code
        assert tokens.authenticate(pair.access_token, NOW) is not None

    def test_changing_the_password_signs_programs_out(self, browser: Client, ada: User) -> None:
        pair = tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name="", now=NOW)
        sign_in(browser)
        new = "an even better horse"
        form = {"oldpassword": PASSWORD, "password1": new, "password2": new}

        assert 302 == post(browser, "/account/password", form)[0]
        assert tokens.authenticate(pair.access_token, NOW) is None
        assert browser.get("/").status_code == 200


def test_the_log_names_no_path_that_may_hold_a_secret(browser: Client, caplog: pytest.LogCaptureFixture) -> None:
    browser.post("/account/password/reset/key/1-secret")  # without a CSRF token
    browser.get("/account/password/reset/keys/1-secret")
    browser.post("/sign-in")

    lines = [json.loads(JsonFormatter().format(record))["message"] for record in caplog.records]
    assert [
        "Forbidden (CSRF cookie not set.): /^account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)$",
        "Not Found: (unknown path)",
        "Forbidden (CSRF cookie not set.): /sign-in",
    ] == lines


class TestABrowser:
    def test_is_told_to_load_nothing_from_elsewhere_and_to_keep_nothing(self, browser: Client) -> None:
        headers = browser.get("/sign-in").headers

        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        expected = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        assert expected == {name: headers[name] for name in expected}
        assert "no-store" in headers["Cache-Control"]

    def test_gets_cookies_that_scripts_cannot_read(self, browser: Client, ada: User) -> None:
        sign_in(browser)

        device = next(name for name in browser.cookies if name.startswith("keyseat-device-"))
        assert {"keyseat-session", "keyseat-csrf", device} == set(browser.cookies)
        assert all(cookie["httponly"] and cookie["samesite"] == "Lax" for cookie in browser.cookies.values())

    def test_under_a_foreign_host_name_gets_nothing(self, browser: Client) -> None:
        assert 400 == browser.get("/sign-in", HTTP_HOST="evil.example").status_code


def test_djangos_own_deployment_checks_have_nothing_to_say_about_an_https_server(ledger: Ledger) -> None:
    program = (
        "from keyseat_issuer.server.django import setup; setup(); from django.core.management import call_command;"
        "call_command('check', deploy=True, fail_level='WARNING')"
    )
    env = {
        **os.environ,
        **ledger.env,
        "KEYSEAT_PUBLIC_URL": "https://license.example.com",
        "KEYSEAT_TRUSTED_PROXIES": "1",
        "KEYSEAT_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz-0123456789abcdefghijklmnopqrstuvwxyz",
    }
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_the_migrations_hold_what_the_models_say(ledger: Ledger) -> None:
    call_command("makemigrations", "web", "ledger", "--check", "--dry-run", verbosity=0)
