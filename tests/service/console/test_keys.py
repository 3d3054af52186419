"""API keys in the browser: made after the password, shown exactly once, revoked after a look."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.sessions.models import Session
from freezegun import freeze_time

import shop
from administration import ADA, ADMIN, BILLING, OWNER, found
from console_site import Desk, Shown
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.models import ApiKey, AuditEvent, Organization
from keyseat_shared.errors import KeyseatError
from web_server import PASSWORD

GOOD = {"name": "nightly build", "scopes": ["sessions", "seats:read"], "expires": "2023-12-31"}
pages_only = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def make(org: Organization, name: str = "ci", **more: object) -> api_keys.NewKey:
    options = {"name": name, "expires_at": None, "actor": f"user:{ADMIN}", "now": shop.NOW} | more
    return api_keys.create_key(org, ["sessions"], **options)


def confirm(desk: Desk) -> Desk:
    """Type the password again."""
    desk.post("/account/confirm?next=/", {"password": PASSWORD, "next": "/"}, page="/account/confirm")
    return desk


def create(desk: Desk, **changes: object) -> Shown:
    return desk.post("api-keys/new", GOOD | changes)


def key_in(shown: Shown) -> str:
    return "ksk_" + shown.html.partition('value="ksk_')[2].partition('"')[0]


class TestMaking:
    @pytest.mark.both_databases
    @pytest.mark.parametrize("who", [OWNER, ADMIN])
    def test_shows_a_key_that_works(self, org: Organization, who: str) -> None:
        shown = create(confirm(Desk(who, org)))

        assert (200, "no-store") == (shown.status, shown.headers["Cache-Control"])
        assert "May sessions, seats:read Works through 31 December 2023" in shown.text
        made = api_keys.authenticate(key_in(shown), shop.NOW)
        assert ("nightly build", "sessions seats:read", f"user:{who}") == (made.name, made.scopes, made.created_by)
        assert datetime(2024, 1, 1, tzinfo=UTC) == made.expires_at

    def test_shows_it_exactly_once(self, org: Organization) -> None:
        desk = confirm(Desk(OWNER, org))
        shown = create(desk)
        text = key_in(shown)

        assert (1, 1) == (shown.html.count(text), ApiKey.objects.count())
        elsewhere = [desk.get(path).html for path in ("api-keys", "api-keys/new", "members", "/")]
        stored = [str(row.get_decoded()) for row in Session.objects.all()]
        stored += [str([*ApiKey.objects.values()]), str([*AuditEvent.objects.values()])]
        secret = text[len("ksk_") + 9 :]
        assert [False] * 7 == [secret in where for where in [*elsewhere, *stored]]
        assert "" == shown.path  # answered to the post itself: no address leads to it

    @pages_only
    def test_asks_for_the_password_and_goes_on_where_it_was(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        page = desk.base + "api-keys/new"
        assert desk.client.get(page).headers["Location"].startswith("/account/confirm?next=")
        assert "Confirm that it is you" in desk.post("api-keys/new", GOOD, page="api-keys").text
        assert not ApiKey.objects.exists()

        shown = desk.post(f"/account/confirm?next={page}", {"password": PASSWORD, "next": page})
        assert "nightly build" == api_keys.authenticate(key_in(shown), shop.NOW).name
        assert "no-store" == shown.headers["Cache-Control"]

    @pages_only
    def test_forgets_a_form_that_waits_for_the_password_when_its_page_is_opened_anew(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        page = desk.base + "api-keys/new"
        desk.post("api-keys/new", GOOD, page="api-keys")
        desk.get("api-keys/new")
        shown = desk.post(f"/account/confirm?next={page}", {"password": PASSWORD, "next": page})
        assert ("Create API key" in shown.text, False) == (True, ApiKey.objects.exists())

    @pages_only
    def test_asks_again_five_minutes_later(self, org: Organization) -> None:
        desk = confirm(Desk(OWNER, org))
        assert 200 == desk.client.get(desk.base + "api-keys/new").status_code
        with freeze_time(shop.NOW + timedelta(minutes=5)):
            assert 302 == desk.client.get(desk.base + "api-keys/new").status_code

    @pages_only
    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"name": ""}, "This field is required."),
            ({"name": "a\x07b"}, "The name of an API key must have 1 to 200 printable characters."),
            ({"name": "x" * 201}, "at most 200 characters"),
            ({"scopes": []}, "Choose one thing at least that the key may do."),
            ({"scopes": ["sessions", "root"]}, "root is not one of the available choices"),
            ({"expires": "31.12.2023"}, "'31.12.2023' is not a date."),
            ({"expires": "2023-05-31"}, "This day is over. Choose a later one."),
        ],
    )
    def test_shows_the_form_again_with_what_was_typed_and_what_is_wrong(
        self, org: Organization, changes: dict[str, object], fault: str
    ) -> None:
        shown = create(confirm(Desk(OWNER, org)), **changes)

        assert (400, True) == (shown.status, fault in shown.text)
        for name, kept in [("name", 'value="nightly build"'), ("expires", 'value="2023-12-31"')]:
            assert name in changes or kept in shown.html
        assert "scopes" in changes or 'value="seats:read" checked' in shown.html
        assert not ApiKey.objects.exists()

    @pages_only
    def test_takes_the_present_day_as_the_last(self, org: Organization) -> None:
        create(confirm(Desk(OWNER, org)), expires="2023-06-01")
        assert datetime(2023, 6, 2, tzinfo=UTC) == ApiKey.objects.get().expires_at

    @pages_only
    @pytest.mark.parametrize("who", [BILLING, ADA])
    def test_is_not_for_others(self, org: Organization, who: str) -> None:
        desk = confirm(Desk(who, org))
        assert 403 == desk.post("api-keys/new", GOOD, page="/").status
        assert 403 == desk.post(f"api-keys/{make(org).row.pk}/revoke", {"confirmed": "yes"}, page="/").status
        assert [None] == list(ApiKey.objects.values_list("revoked_at", flat=True))

    @pages_only
    def test_takes_no_post_without_its_token(self, org: Organization) -> None:
        desk = confirm(Desk(OWNER, org))
        made = make(org)
        assert 403 == desk.client.post(desk.base + "api-keys/new", GOOD).status_code
        path = f"{desk.base}api-keys/{made.row.pk}/revoke"
        assert 403 == desk.client.post(path, {"confirmed": "yes"}).status_code
        assert (1, None) == (ApiKey.objects.count(), ApiKey.objects.get().revoked_at)


@pages_only
class TestTheList:
    def test_tells_what_each_key_may_and_how_it_stands(self, org: Organization) -> None:
        used, revoked = make(org, "used", actor="cli:ops"), make(org, "gone")
        make(org, "brief", expires_at=shop.NOW + timedelta(hours=1))
        api_keys.authenticate(used.text, shop.NOW)
        api_keys.revoke_key(org, revoked.row.prefix, actor="test", now=shop.NOW)
        with freeze_time(shop.NOW + timedelta(hours=2)):
            shown = Desk(OWNER, org).get("api-keys")

        assert f"used {used.row.prefix} sessions active 1 June 2023 by your vendor 1 June 2023, 12:00 UTC" in shown.text
        assert f"{revoked.row.prefix} sessions revoked on 1 June 2023" in shown.text
        assert "expired, was valid until 1 June 2023, 13:00 UTC 1 June 2023 by admin@example.com never" in shown.text
        assert "cli:" not in shown.text
        assert 2 == shown.html.count("/revoke")

    def test_escapes_names(self, org: Organization) -> None:
        made = make(org, "<script>alert(1)</script>")
        desk = Desk(OWNER, org)
        asked = desk.post(f"api-keys/{made.row.pk}/revoke", {}, page="api-keys")
        done = desk.post(f"api-keys/{made.row.pk}/revoke", {"confirmed": "yes"}, page="api-keys")
        new = create(confirm(desk), name="<script>2</script>")
        for shown in (desk.get("api-keys"), asked, done, new):
            assert ("<script>" in shown.html, "&lt;script&gt;" in shown.html) == (False, True)

    def test_is_empty_at_first_and_long_later(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        assert "There is no key yet." in desk.get("api-keys").text
        for number in range(51):
            make(org, f"key {number}", now=shop.NOW + timedelta(seconds=number))
        assert "1 to 50 of 51 Next" in desk.get("api-keys").text
        assert "key 0 " in desk.get("api-keys?keys=2").text

    def test_holds_the_organisations_own_only(self, org: Organization) -> None:
        make(found("Another Organisation"), "foreign")
        assert "foreign" not in Desk(OWNER, org).get("api-keys").text


class TestRevoking:
    @pytest.mark.both_databases
    def test_is_done_after_a_look(self, org: Organization) -> None:
        made = make(org)
        desk = Desk(ADMIN, org)
        asked = desk.post(f"api-keys/{made.row.pk}/revoke", {}, page="api-keys")
        assert "Revoke the key “ci”?" in asked.text
        assert f"Prefix: {made.row.prefix} Made by admin@example.com Never used" in asked.text
        assert made.row.pk == api_keys.authenticate(made.text, shop.NOW).pk

        done = desk.post(f"api-keys/{made.row.pk}/revoke", {"confirmed": "yes"}, page="api-keys")
        assert f"The key “ci” ({made.row.prefix}) was revoked." in done.text
        with pytest.raises(KeyseatError, match="was revoked"):
            api_keys.authenticate(made.text, shop.NOW)
        assert f"user:{ADMIN}" == AuditEvent.objects.order_by("-seq").first().actor
        again = desk.post(f"api-keys/{made.row.pk}/revoke", {"confirmed": "yes"}, page="api-keys")
        assert "That key is no more, or was revoked already." in again.text

    @pages_only
    def test_says_when_the_key_was_used_last(self, org: Organization) -> None:
        made = make(org)
        api_keys.authenticate(made.text, shop.NOW)
        asked = Desk(ADMIN, org).post(f"api-keys/{made.row.pk}/revoke", {}, page="api-keys")
        assert "Last used: 1 June 2023, 12:00 UTC" in asked.text

    @pages_only
    def test_does_not_reach_another_organisation(self, org: Organization) -> None:
        foreign = make(found("Another Organisation"))
        told = Desk(OWNER, org).post(f"api-keys/{foreign.row.pk}/revoke", {"confirmed": "yes"}, page="api-keys")
        assert "That key is no more" in told.text
        assert ApiKey.objects.get().revoked_at is None
