"""A person with a real browser accepts an invitation and signs a waiting program in, by any means of using a page."""

import threading
import time

import pytest
from playwright.sync_api import Page, expect

from accessibility import check
from keyseat_issuer.ledger.customers import invitations
from keyseat_issuer.ledger.models import Organization, Role
from keyseat_issuer.web import invitation_mail
from keyseat_issuer.web.accounts import with_account
from keyseat_issuer.web.tokens import authenticate
from keyseat_shared.instants import now_utc
from web_server import PASSWORD, Http, five_minutes_later, make_account

ADA = "ada@example.com"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def sign_in(page: Page) -> None:
    page.get_by_label("Email").fill(ADA)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


class Program(threading.Thread):
    """A client without a browser that waits to be signed in."""

    def __init__(self, site: str, scope: str = "sessions") -> None:
        super().__init__(daemon=True)
        self._http = Http(site)
        form = {"client_id": "keyseat", "device_name": "build-7", "scope": scope}
        self.asked = self._http.request("/oauth/device", form).json()
        self.answer: dict[str, object] = {}

    def run(self) -> None:
        form = {"grant_type": GRANT, "client_id": "keyseat", "device_code": str(self.asked["device_code"])}
        interval = float(str(self.asked["interval"]))
        until = time.monotonic() + 60
        while time.monotonic() < until:
            self.answer = self._http.request("/oauth/token", form).json()
            if self.answer.get("error") == "slow_down":
                interval += 5
            elif self.answer.get("error") != "authorization_pending":
                return
            time.sleep(interval)  # what RFC 8628, section 3.5, asks of a client


def test_a_person_signs_a_waiting_program_in(page: Page, site: str) -> None:
    make_account(ADA)
    program = Program(site)
    program.start()
    page.goto(str(program.asked["verification_uri_complete"]))
    check(page)
    sign_in(page)
    expect(page.get_by_label("Code")).to_have_value(str(program.asked["user_code"]))
    check(page)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("build-7", exact=True)).to_be_visible()
    check(page)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Signed in")).to_be_visible()
    check(page)
    program.join(60)

    identity = authenticate(str(program.answer.get("access_token")))
    assert identity is not None, program.answer
    assert ADA == identity.email
    page.get_by_role("link", name="Home", exact=True).click()
    expect(page.get_by_text("build-7", exact=True)).to_be_visible()
    check(page)
    page.get_by_role("button", name="Sign out on build-7").click()
    expect(page.get_by_role("status")).to_contain_text("Signed out on build-7")
    check(page)
    assert authenticate(str(program.answer["access_token"])) is None


def test_a_program_that_may_manage_the_organisation_needs_the_password_again(page: Page, site: str) -> None:
    make_account(ADA)
    program = Program(site, "admin")
    program.start()
    page.goto(str(program.asked["verification_uri_complete"]))
    sign_in(page)
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    five_minutes_later()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("You will be asked for your password")).to_be_visible()
    check(page)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    check(page)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("heading", name="Signed in")).to_be_visible()
    check(page)
    program.join(60)

    identity = authenticate(str(program.answer.get("access_token")))
    assert identity is not None, program.answer
    assert frozenset({"admin"}) == identity.scopes
    assert identity.authenticated_at is not None


def test_an_invited_person_chooses_a_password_and_sees_their_organisation(
    page: Page, site: str, org: Organization
) -> None:
    [made] = invitations.invite(org, [ADA], Role.MEMBER, with_account=with_account, actor="test", now=now_utc())
    page.goto(invitation_mail.link(made, site))
    expect(page.get_by_role("heading", name="Join Example Organisation")).to_be_visible()
    check(page)
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_label("Password again").fill("short")
    page.get_by_role("button", name="Create account and join").click()
    expect(page.get_by_role("alert")).to_contain_text("too short")
    check(page)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Create account and join").click()
    expect(page.get_by_role("heading", name="Hello, Ada Lovelace")).to_be_visible()
    expect(page.get_by_role("row", name="Example Organisation")).to_be_visible()
    check(page)
    page.goto(invitation_mail.link(made, site))
    expect(page.get_by_text("has been accepted")).to_be_visible()
    check(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_every_other_page_is_usable_by_all(page: Page) -> None:
    make_account(ADA)
    page.goto("/account/password/reset")
    check(page)
    page.goto("/sign-in")
    page.get_by_label("Email").fill(ADA)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)
    sign_in(page)
    for path in ("/account/password", "/account/second-factor/", "/sign-out", "/no-such-page"):
        page.goto(path)
        check(page)
    page.goto("/account/second-factor/totp/activate/")
    check(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_label("Authenticator secret")).to_be_visible()
    check(page)


def test_a_person_can_do_it_all_with_the_keyboard(page: Page, site: str) -> None:
    make_account(ADA)
    code = str(Program(site).asked["user_code"])
    page.goto("/device")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_label("Email").press_sequentially(ADA)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sign in a program")).to_be_visible()
    page.get_by_label("Code").focus()
    page.keyboard.type(code.lower())
    page.keyboard.press("Enter")
    approve = page.get_by_role("button", name="Approve")
    expect(approve).to_be_visible()
    approve.focus()
    assert "none" != approve.evaluate("button => getComputedStyle(button).outlineStyle")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Signed in")).to_be_visible()
