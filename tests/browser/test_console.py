"""An owner with a real browser assigns, transfers and takes back seats; every page on the way is usable by all."""

import pytest
from playwright.sync_api import Locator, Page, expect

import shop
from accessibility import check
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Organization, Role
from keyseat_shared.instants import add_years, now_utc
from vendor import MACHINE
from web_server import PASSWORD, make_account

OWNER, ADA, BOB, EVE = "owner@example.com", "ada@example.com", "bob@example.com", "eve@example.org"

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture
def customer(org: Organization) -> Organization:
    """The organisation with Ada and Bob, and two seats of each product that run now."""
    now = now_utc()
    members.add_members(org, [ADA, BOB], Role.MEMBER, actor="test", now=now)
    shop.subscribe(org, {"KSE": 2, "KRE": 2}, starts_at=now, ends_at=add_years(now, 1), now=now)
    make_account(OWNER)
    return org


@pytest.fixture
def signed_in(page: Page, customer: Organization) -> Page:
    """The owner's page, at home."""
    page.goto("/sign-in")
    page.get_by_label("Email").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    return page


def press(control: Locator, key: str = "Enter") -> None:
    """Use a control as one who has no mouse."""
    control.focus()
    expect(control).to_be_focused()
    control.page.keyboard.press(key)


def holders(customer: Organization) -> list[str]:
    return [seat.holder for seat in shop.held(customer, now_utc(), "KSE") if seat.kind == "named"]


def test_an_owner_assigns_transfers_and_takes_back_seats(signed_in: Page, customer: Organization) -> None:
    page = signed_in
    press(page.get_by_role("link", name="Licences").first)
    expect(page.get_by_role("heading", name="License Management")).to_be_visible()
    check(page)
    press(page.get_by_role("link", name="Assign License"))
    expect(page.get_by_text("2 KSE seats are free.")).to_be_visible()
    check(page)
    page.get_by_label("E-mail addresses").focus()
    page.keyboard.insert_text(f"Ada Lovelace <{ADA}>; {EVE}\n{BOB}")
    press(page.get_by_role("button", name="Continue"))
    expect(page.get_by_role("row", name=EVE)).to_contain_text("not a member")
    assert [] == holders(customer)
    check(page)
    press(page.get_by_role("button", name="Assign the 2 who can be"))
    expect(page.get_by_role("status")).to_contain_text("Assigned 2 KSE seats.")
    users = page.get_by_role("group", name="Licensed users")
    expect(users.get_by_role("row")).to_have_count(3)
    check(page)

    press(page.get_by_role("link", name=f"Transfer the seat of {ADA}"))
    expect(page.get_by_role("heading", name=f"Transfer the KSE seat of {ADA}")).to_be_visible()
    check(page)
    page.get_by_label("To the member").focus()
    page.keyboard.type(OWNER)
    press(page.get_by_role("button", name="Continue"))
    expect(page.get_by_text(f"{OWNER} gets it")).to_be_visible()
    check(page)
    press(page.get_by_role("button", name="Transfer"))
    expect(page.get_by_role("status")).to_contain_text(f"The KSE seat of {ADA} is {OWNER}'s now.")
    check(page)

    press(page.get_by_role("checkbox", name=f"Seat of {BOB}"), "Space")
    press(page.get_by_role("button", name="Unassign chosen"))
    expect(page.get_by_text(f"{BOB}: not online")).to_be_visible()
    check(page)
    press(page.get_by_role("button", name="Unassign"))
    expect(page.get_by_role("status")).to_contain_text(f"Took back the KSE seat of {BOB}.")
    assert [OWNER] == holders(customer)


def test_what_is_refused_is_usable_by_all(signed_in: Page, customer: Organization) -> None:
    page, base = signed_in, f"/organizations/{customer.pk}/licenses"
    page.goto(f"{base}/KSE/assign")
    press(page.get_by_role("button", name="Continue"))
    expect(page.get_by_role("alert")).to_contain_text("The list holds no e-mail address.")
    check(page)
    page.get_by_label("Or a CSV file").set_input_files(
        {"name": "users.csv", "mimeType": "text/csv", "buffer": f"User;E-mail\n1;{ADA}\n2;{BOB}\n3;{OWNER}\n".encode()}
    )
    press(page.get_by_role("button", name="Continue"))
    expect(page.get_by_role("alert")).to_contain_text("0 of 2 KSE seats are taken; 3 more are asked for.")
    expect(page.get_by_label("E-mail addresses")).to_have_value(f"{ADA}\n{BOB}\n{OWNER}")
    check(page)


def test_the_pages_of_both_products_are_usable_by_all(signed_in: Page, customer: Organization) -> None:
    now = now_utc()
    for product in ("KSE", "KRE"):
        shop.assign(customer, product, ADA, now=now)
    for email in ("", ADA):
        shop.session(customer, MACHINE, email, now=now)
    for product in ("KSE", "KRE"):
        signed_in.goto(f"/organizations/{customer.pk}/licenses/{product}")
        expect(signed_in.get_by_role("link", name=f"Transfer the seat of {ADA}")).to_be_visible()
        check(signed_in)
