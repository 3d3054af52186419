"""Limits on guesses and mails: nobody flushes them, nobody fills the disk, and nobody shuts the right person out."""

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client, RequestFactory
from freezegun import freeze_time

from databases import Ledger
from keyseat_issuer.server import django
from keyseat_issuer.web import attempts, device, known_devices, limits
from keyseat_issuer.web.accounts import reset_link
from keyseat_issuer.web.adapters import MFAAdapter
from keyseat_issuer.web.mail import MAIL_THREAD
from keyseat_issuer.web.models import DeviceAuthorization, RateWindow, User
from keyseat_shared.instants import format_instant
from races import race
from web_server import PASSWORD, make_account

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA, EVE = "ada@example.com", "eve@example.com"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
SEED = "JBSWY3DPEHPK3PXP"
CODE_PAGE = "/account/second-factor/authenticate/"
sqlite_only = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture
def frozen() -> Iterator[None]:
    with freeze_time(NOW):
        yield


@pytest.fixture
def ada(ledger: Ledger, frozen: None) -> User:
    make_account(ADA)
    return User.objects.get(email=ADA)


class Browser:
    """Somebody's browser somewhere."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        self.client = Client(enforce_csrf_checks=True, REMOTE_ADDR=address)

    def post(self, path: str, form: dict[str, str], **extra: str) -> "tuple[int, str]":
        """Post a page's form; return status and text."""
        token = CSRF.findall(self.client.get(path, **extra).content.decode())[-1]
        self.answer = self.client.post(path, {**form, "csrfmiddlewaretoken": token}, **extra)
        return self.answer.status_code, " ".join(self.answer.content.decode().split())

    def sign_in(self, email: str = ADA, password: str = PASSWORD, **extra: str) -> "tuple[int, str]":
        return self.post("/sign-in", {"login": email, "password": password}, **extra)

    def known(self) -> "Browser":
        """Sign in and out again."""
        assert 302 == self.sign_in()[0]
        self.client.cookies.pop(settings.SESSION_COOKIE_NAME)
        return self


def guess(email: str, address: str = "203.0.113.1", times: int = 5) -> None:
    """Guess at an account until it is locked, without the cost of a password each."""
    for _ in range(times):
        attempts.at_password(RequestFactory().post("/sign-in", REMOTE_ADDR=address), email)


def cookies(browser: Browser) -> list[str]:
    return [name for name in browser.client.cookies if "keyseat-device" in name]


def totp() -> str:
    return format_hotp_value(hotp_value(SEED, next(iter(yield_hotp_counters_from_time()))))


class TestALock:
    def test_is_not_cleared_by_failures_at_others_from_many_networks(self, ada: User) -> None:
        guess(ADA)
        for number in range(400):
            guess(f"u{number}@example.com", f"198.51.{number // 9}.7", 1)

        assert 429 == Browser().sign_in()[0]

    @sqlite_only
    def test_says_for_how_long_and_the_same_for_an_address_that_nobody_has(self, ada: User) -> None:
        told = []
        for email in (ADA, "nobody@example.com"):
            guess(email)
            browser = Browser()
            told.append((*browser.sign_in(email), browser.answer.headers["Retry-After"]))

        statuses, texts, seconds = zip(*told, strict=True)
        assert ((429, 429), ("300", "300")) == (statuses, seconds)
        assert all("Too many attempts. Try again in 5 minutes." in text for text in texts)
        assert texts[0].replace(ADA, "") == texts[1].replace("nobody@example.com", "") or (
            re.sub(r'value="[^"]*"', "", texts[0]) == re.sub(r'value="[^"]*"', "", texts[1])
        )

    def test_ends_when_it_said(self, ada: User) -> None:
        guess(ADA)
        with freeze_time(NOW + timedelta(seconds=299)):
            assert 429 == Browser().sign_in()[0]
        with freeze_time(NOW + timedelta(seconds=300)):
            assert 302 == Browser().sign_in()[0]

    @sqlite_only
    @pytest.mark.parametrize("host", ["testserver:1337", "testserver.", "TESTSERVER"])
    def test_holds_whatever_host_a_request_names(self, ada: User, host: str) -> None:
        """The library's own count was by host and address: another port was a new account."""
        guess(ADA)
        assert 429 == Browser().sign_in(HTTP_HOST=host)[0]

    @sqlite_only
    def test_counts_no_attempt_that_was_right(self, ada: User) -> None:
        assert [302] * 12 == [Browser().sign_in()[0] for _ in range(12)]

    @sqlite_only
    def test_of_a_network_is_no_lock_of_the_accounts_that_were_not_looked_at(self, ada: User) -> None:
        for number in range(10):
            guess(f"u{number}@example.com", times=1)
        for _ in range(20):
            with pytest.raises(ValidationError, match="Too many attempts"):
                guess(ADA, times=1)

        assert 302 == Browser().sign_in()[0]

    @sqlite_only
    def test_lets_who_goes_on_asking_neither_write_nor_wait_for_the_ledger(self, ada: User, ledger: Ledger) -> None:
        guess(ADA)
        with contextlib.closing(sqlite3.connect(ledger.home / "ledger.sqlite3", isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            for _ in range(50):
                with pytest.raises(ValidationError, match="Too many attempts"):
                    guess(ADA, "198.51.100.1", 1)

        guess("other@example.com", "198.51.100.1", 5)

    @sqlite_only
    def test_holds_for_a_whole_customer_of_a_hoster(self, ada: User) -> None:
        for number in range(60):
            guess(f"u{number}@example.com", f"2001:db8:1:{number:x}::1", 1)

        with pytest.raises(ValidationError, match="Too many attempts"):
            guess("other@example.com", "2001:db8:1:ffff::1", 1)
        guess("other@example.com", "2001:db8:2::1", 1)

    def test_lets_no_guess_through_that_comes_at_the_same_moment(self, ada: User, ledger: Ledger) -> None:
        lines = race(
            ledger,
            "limit_tasks:spend",
            16,
            settings=django.SETTINGS,
            secret=settings.SECRET_KEY,
            now=format_instant(NOW),
        )

        assert [False] * 11 + [True] * 5 == sorted(bool(line["result"]) for line in lines)


class TestAKnownBrowser:
    def test_keeps_getting_in_while_others_guess(self, ada: User) -> None:
        home = Browser().known()
        guess(ADA)
        for number in range(10):  # and in the same office
            guess(f"u{number}@example.com", "192.0.2.1", 1)

        assert 429 == Browser().sign_in()[0]
        assert 302 == home.sign_in()[0]

    @sqlite_only
    def test_is_counted_on_its_own_and_then_like_any_other(self, ada: User) -> None:
        home, work = Browser().known(), Browser("192.0.2.2").known()
        statuses = [home.sign_in(password="wrong")[0] for _ in range(15)]

        assert [200] * 15 == statuses  # ten of its own, then the five of any browser
        assert [429, 429] == [home.sign_in()[0], Browser("192.0.2.3").sign_in()[0]]
        assert 302 == work.sign_in()[0]

    @sqlite_only
    def test_is_known_for_its_own_accounts_only(self, ada: User) -> None:
        make_account(EVE)
        shared = Browser().known()
        guess(EVE)
        assert 429 == shared.sign_in(EVE)[0]

        with freeze_time(NOW + timedelta(minutes=5)):
            assert 302 == shared.sign_in(EVE)[0]
        assert 2 == len(cookies(shared))

    @sqlite_only
    def test_has_a_cookie_that_opens_nothing_and_is_kept_to_itself(self, ada: User) -> None:
        home = Browser().known()
        [name] = cookies(home)
        cookie = home.client.cookies[name]

        assert ("Lax", True, "/") == (cookie["samesite"], cookie["httponly"], cookie["path"])
        assert ADA not in name + cookie.value
        assert ada.password not in cookie.value
        assert 302 == home.client.get("/").status_code

    @sqlite_only
    @pytest.mark.parametrize("what", ["forged", "of another", "too old", "before the new password", "shut off"])
    def test_is_none_any_more_where_its_cookie_is(self, ada: User, what: str) -> None:
        home = Browser().known()
        [name] = cookies(home)
        later = NOW
        if what == "forged":
            home.client.cookies[name] = home.client.cookies[name].value[:-2] + "xx"
        elif what == "of another":
            make_account(EVE)
            theirs = Browser("192.0.2.9")
            assert 302 == theirs.sign_in(EVE)[0]
            [other] = cookies(theirs)
            home.client.cookies[name] = theirs.client.cookies[other].value
        elif what == "too old":
            later += known_devices.AGE + timedelta(seconds=1)
        elif what == "before the new password":
            ada.set_password("an even better horse")
            ada.save()
        else:
            User.objects.update(is_active=False)
        with freeze_time(later):
            guess(ADA)
            assert 429 == home.sign_in()[0]

    @sqlite_only
    def test_is_made_by_the_link_of_a_forgotten_password(self, ada: User) -> None:
        """Whoever is locked out on a new machine gets in: the link is a proof, too."""
        guess(ADA)
        locked_out = Browser("192.0.2.77")
        form = locked_out.client.get(reset_link(ADA, actor="test", now=NOW)).headers["Location"]
        new = "an even better horse"
        assert 302 == locked_out.post(form, {"password1": new, "password2": new})[0]

        assert 302 == locked_out.sign_in(password=new)[0]
        assert 429 == Browser("192.0.2.78").sign_in(password=new)[0]


@sqlite_only
class TestASecondFactor:
    @pytest.fixture(autouse=True)
    def factor(self, ada: User) -> None:
        Authenticator.objects.create(user=ada, type="totp", data={"secret": MFAAdapter().encrypt(SEED)})

    def step(self, browser: Browser, code: str) -> "tuple[int, str]":
        return browser.post(CODE_PAGE, {"code": code})

    def test_is_guessed_five_times_and_says_for_how_long(self) -> None:
        browser = Browser()
        browser.sign_in()
        assert [200] * 5 == [self.step(browser, "000000")[0] for _ in range(5)]

        status, text = self.step(browser, totp())
        assert (429, True) == (status, "Try again in 5 minutes." in text)

    def test_of_a_known_browser_still_counts_while_who_knows_the_password_guesses(self) -> None:
        home = Browser()
        home.sign_in()
        assert 302 == self.step(home, totp())[0]
        home.client.cookies.pop(settings.SESSION_COOKIE_NAME)
        thief = Browser("203.0.113.9")
        thief.sign_in()
        for _ in range(6):
            self.step(thief, "000000")

        with freeze_time(NOW + timedelta(seconds=30)):
            home.sign_in()
            assert [429, 302] == [self.step(thief, totp())[0], self.step(home, totp())[0]]

    def test_is_guessed_fifty_times_a_day(self) -> None:
        allowed = 0
        user = User.objects.get(email=ADA)
        for minutes in range(0, 24 * 60, 5):
            with freeze_time(NOW + timedelta(minutes=minutes)):
                for _ in range(5):
                    try:
                        attempts.at_second_factor(RequestFactory().post(CODE_PAGE), user)
                    except ValidationError:
                        continue
                    allowed += 1
        assert 50 == allowed

    def test_code_does_not_count_twice_however_full_the_cache_is(self) -> None:
        first, second = Browser(), Browser("192.0.2.2")
        for browser in (first, second):
            browser.sign_in()
        code = totp()
        assert 302 == self.step(first, code)[0]
        for number in range(700):
            cache.set(f"other-{number}", "y", 300)

        assert "Incorrect code" in self.step(second, code)[1]


@sqlite_only
class TestConfirming:
    def test_is_guessed_ten_times_in_one_browser_and_locks_nobody_else(self, ada: User) -> None:
        left_open, home = Browser(), Browser("192.0.2.2")
        for browser in (left_open, home):
            browser.sign_in()
        page = "/account/confirm?next=/"
        wrong = [left_open.post(page, {"password": "wrong", "next": "/"})[0] for _ in range(11)]

        assert [200] * 10 + [429] == wrong
        assert 429 == left_open.post(page, {"password": PASSWORD, "next": "/"})[0]
        assert 302 == home.post(page, {"password": PASSWORD, "next": "/"})[0]
        assert 302 == Browser("192.0.2.3").sign_in()[0]

    def test_is_no_way_round_by_changing_the_password(self, ada: User) -> None:
        browser = Browser()
        browser.sign_in()
        form = {"oldpassword": "wrong", "password1": "an even better horse", "password2": "an even better horse"}
        assert [200] * 10 + [429] == [browser.post("/account/password", form)[0] for _ in range(11)]


@sqlite_only
class TestMailsForForgottenPasswords:
    @pytest.fixture(autouse=True)
    def mailing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1")
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
        monkeypatch.setattr(mail, "outbox", [], raising=False)

    def ask(self, email: str, browser: Browser | None = None) -> "tuple[int, str]":
        told = (browser or Browser()).post("/account/password/reset", {"email": email})
        for thread in threading.enumerate():
            if thread.name == MAIL_THREAD:
                thread.join()
        return told

    @pytest.mark.parametrize("email", [ADA, "nobody@example.com"])
    def test_are_five_an_hour_for_one_address_and_tell_nobody_whether_it_is_known(self, ada: User, email: str) -> None:
        statuses = [self.ask(spelling)[0] for spelling in (email, email.upper(), f" {email}") * 2]

        assert [302] * 5 + [429] == statuses
        assert (5 if email == ADA else 0) == len(mail.outbox)
        assert "Wait 60 minutes" in self.ask(email)[1]

    def test_are_twenty_from_one_network(self, ada: User) -> None:
        statuses = [self.ask(f"u{number}@example.com")[0] for number in range(21)]
        assert ([302] * 20 + [429], 302) == (statuses, self.ask(ADA, Browser("192.0.2.2"))[0])

    def test_go_out_for_a_known_browser_while_others_use_them_up(self, ada: User) -> None:
        home = Browser("192.0.2.2").known()
        for _ in range(6):
            self.ask(ADA)

        assert 302 == self.ask(ADA, home)[0]


class TestTheTable:
    def test_has_a_bounded_number_of_rows(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "_ROWS", 8)
        limit = limits.Limit("test", 1000, timedelta(minutes=1))
        for number in range(100):
            limits.spend(limit, f"subject {number}", NOW)

        assert 8 == RateWindow.objects.count()
        assert 100 == sum(RateWindow.objects.values_list("attempts", flat=True))

    def test_loses_rows_that_have_ended_as_new_ones_come(self, ledger: Ledger) -> None:
        limit = limits.Limit("test", 1000, timedelta(minutes=1))
        for number in range(50):
            limits.spend(limit, f"old {number}", NOW)
        for number in range(6):
            limits.spend(limit, f"new {number}", NOW + timedelta(hours=1))

        assert 6 == RateWindow.objects.count()

    def test_tells_nobodys_address(self, ledger: Ledger) -> None:
        limits.spend(limits.Limit("test", 5, timedelta(minutes=1)), ADA, NOW)

        assert "ada" not in str(list(RateWindow.objects.values()))

    def test_counts_all_of_several_or_none(self, ledger: Ledger) -> None:
        limit = limits.Limit("test", 2, timedelta(minutes=1))

        assert limits.spend_each(limit, ["a", "b", "a"], NOW).allowed
        assert limits.Spent(allowed=False, retry_after=60) == limits.spend_each(limit, ["c", "a"], NOW)
        assert [True, True, False] == [limits.spend(limit, "c", NOW).allowed for _ in range(3)]

    def test_of_device_requests_loses_dead_ones_as_new_ones_come(self, ledger: Ledger) -> None:
        def start_some(count: int, now: datetime) -> None:
            for _ in range(count):
                device.start(client_id="keyseat", scopes=(), device_name="", address=None, now=now)

        start_some(25, NOW)
        start_some(4, NOW + timedelta(hours=3))

        assert 4 == DeviceAuthorization.objects.count()


@sqlite_only
@pytest.mark.parametrize("mails", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_who_has_to_wait_is_told_what_lets_them_in(
    ada: User, monkeypatch: pytest.MonkeyPatch, *, known: bool, mails: bool
) -> None:
    monkeypatch.setattr(attempts, "sends_for_real", lambda: mails)
    browser = Browser()
    if known:
        browser.known()
    guess(ADA)
    for _ in range(11):
        status, text = browser.sign_in(password="wrong")

    assert 429 == status
    assert ("A browser in which you have signed in before" in text) != known
    assert ("Forgot your password?”" in text, "ask Customer Success" in text) == (mails, not mails)
