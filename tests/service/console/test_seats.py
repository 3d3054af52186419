"""Seats in the browser: assigning many after a look at what would happen, taking back, transferring."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, ADMIN, BILLING, BOB, EVE, OWNER, found
from console_site import Counter, Desk, Shown
from databases import Ledger
from keyseat_issuer.console.holders import MOST_OPTIONS
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Allocation, AllocationKind, AuditEvent, Lease, Organization, SessionEnding
from keyseat_shared.policy import default_policy
from vendor import MACHINE, Vendor

ASSIGN, UNASSIGN, TRANSFER = ("licenses/KSE/assign", "licenses/KSE/unassign", "licenses/KSE/transfer")
sqlite_only = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def assigned(product: str = "KSE") -> set[str]:
    rows = Allocation.objects.filter(pool__product=product, kind=AllocationKind.NAMED, released_at__isnull=True)
    return set(rows.values_list("holder", flat=True))


def look(desk: Desk, emails: str, path: str = ASSIGN, file: bytes | None = None) -> Shown:
    upload = {} if file is None else {"file": SimpleUploadedFile("users.csv", file)}
    return desk.post(path, {"emails": emails} | upload)


def confirm(desk: Desk, *emails: str, path: str = ASSIGN) -> Shown:
    return desk.post(path, {"emails": "\n".join(emails), "confirmed": "yes"})


class TestAssigning:
    def test_begins_with_a_form_that_says_how_many_seats_are_free(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA)
        assert "/KSE/assign" in desk.get("licenses/KSE").html
        assert "2 KSE seats are free." in desk.get(ASSIGN).text

    def test_shows_what_would_happen_and_changes_nothing(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", BOB)
        offline_shop.issue("KSE", organization=org.name, user=ADMIN)
        audited = AuditEvent.objects.count()

        shown = look(desk, f"Ada <{ADA}>; {EVE}\nada at example\n{BOB.upper()} {ADA}")
        told = shown.section("preview")

        assert 200 == shown.status
        assert "Would be assigned 1 Free now 1 Free afterwards 0" in told
        assert "1 address is not a member's and must be invited first." in told
        assert "Assign the one who can be" in told
        assert (
            f"1 {EVE} not a member 2 ada at example not an e-mail address "
            f"1 {ADA} could be assigned 3 {BOB} already assigned"
        ) in told
        assert "also holds an offline licence, through 31 May 2024" in look(desk, ADMIN).section("preview")
        assert ({BOB}, audited) == (assigned(), AuditEvent.objects.count())

    def test_reads_a_file_as_well_and_keeps_its_addresses_on_the_form(self, desk: Desk) -> None:
        shown = look(desk, ADA, file=f"Name;E-mail\r\nBob;{BOB}\r\nX;x\r\nY;\r\n".encode("utf-8-sig"))
        told = shown.section("preview")
        assert f"3 of the file x not an e-mail address 4 of the file (none) not an e-mail address 1 {ADA}" in told
        assert f">\n{ADA}\n{BOB}\nx</textarea>" in shown.html

    @pytest.mark.both_databases
    def test_assigns_those_that_were_shown(self, org: Organization, desk: Desk) -> None:
        shown = look(desk, f"{ADA} {EVE} {BOB}")
        assert f'name="emails" value="{ADA}\n{BOB}"' in shown.html
        done = confirm(desk, ADA, BOB)

        assert (f"/organizations/{org.pk}/licenses/KSE#users", {ADA, BOB}) == (done.path, assigned())
        assert "Assigned 2 KSE seats. Each user activates in the program." in done.text
        assert f"user:{OWNER}" == AuditEvent.objects.order_by("-seq").first().actor

    def test_says_who_held_one_already(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA)
        assert "Assigned 1 KSE seat. 1 held one already." in confirm(desk, ADA, BOB).text

    def test_says_that_there_are_too_few_seats_before_and_after(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA, BOB)
        shown = look(desk, f"{ADMIN} {BILLING}")
        told = shown.section("preview")
        assert "2 of 3 KSE seats are taken; 2 more are asked for." in told
        assert "1 too many." in told
        assert "confirmed" not in shown.html

        tried = confirm(desk, ADMIN, BILLING)
        assert (409, {ADA, BOB}) == (tried.status, assigned())
        assert "2 of 3 KSE seats are taken; 2 more are asked for." in tried.text
        assert f">\n{ADMIN}\n{BILLING}</textarea>" in tried.html

    def test_of_somebody_removed_meanwhile_assigns_nothing_and_looks_again(self, org: Organization, desk: Desk) -> None:
        look(desk, f"{ADA} {BOB}")
        members.remove_member(org, BOB, actor="test", now=shop.NOW)
        tried = confirm(desk, ADA, BOB)
        assert (409, set()) == (tried.status, assigned())
        assert f"Not a member of '{org.name}': {BOB}; nothing was changed. Invite the person first." in tried.text
        assert f"2 {BOB} not a member 1 {ADA} could be assigned" in tried.section("preview")

    def test_works_for_floating_products_too(self, desk: Desk) -> None:
        assert "Free now 2 Free afterwards 0" in look(desk, f"{ADA} {BOB}", "licenses/KRE/assign").section("preview")
        confirm(desk, ADA, BOB, path="licenses/KRE/assign")
        assert {ADA, BOB} == assigned("KRE")
        assert "Transfer the seat of ada@example.com" in desk.get("licenses/KRE").section("users")

    @sqlite_only
    def test_of_a_product_without_a_limit_of_users_says_so(self, org: Organization) -> None:
        policy = default_policy()
        floating = policy.products["KRE"]._replace(assigned_users="unlimited")
        seller = Vendor(policy=policy._replace(products={**policy.products, "KRE": floating}))
        desk = Desk(OWNER, org, Counter(seller))
        assert "The number of users is not limited." in desk.get("licenses/KRE/assign").text
        told = look(desk, f"{ADA} {BOB} {ADMIN}", "licenses/KRE/assign").section("preview")
        assert "Would be assigned 3 Free no limit" in told

    @sqlite_only
    @pytest.mark.parametrize(
        ("emails", "file", "message"),
        [
            (" ;\n", None, "The list holds no e-mail address. Write at least one"),
            ("", b"\xff\xfe", "The file is not UTF-8 text (byte 1). Save the table as CSV in UTF-8."),
            ("x" * 65_536, b"y", "The text and the file are larger than 64 KiB together."),
            ("", b"x" * 3_000_000, "The text and the file are larger than 64 KiB together."),
            ("\n".join(f"u{number}@example.com" for number in range(1001)), None, "more than 1,000 entries"),
        ],
    )
    def test_shows_the_form_again_with_what_was_typed(
        self, desk: Desk, emails: str, file: bytes | None, message: str
    ) -> None:
        shown = look(desk, emails, file=file)
        assert (400, True) == (shown.status, message in shown.text)
        assert f">\n{emails}</textarea>" in shown.html

    @sqlite_only
    def test_takes_as_many_addresses_as_the_form_says(self, desk: Desk) -> None:
        many = [f"{'x' * 50}{number:04}@example.com" for number in range(976)]
        text = "\r\n".join(many)
        assert 65_536 >= len(text.replace("\r", "")) > 65_000
        assert "976 addresses are not members' and must be invited first." in look(desk, text).section("preview")

    @sqlite_only
    def test_is_not_offered_without_a_subscription(self, org: Organization) -> None:
        with freeze_time(shop.END):
            desk = Desk(OWNER, org)
            shown, posted = desk.get(ASSIGN), desk.post(ASSIGN, {"emails": ADA}, page="licenses/KSE")
        assert [200, 409] == [shown.status, posted.status]
        for page in (shown, posted):
            assert f"The KSE subscription of '{org.name}' ended at 2024-06-01T00:00:00Z. Nothing can be" in page.text
            assert "<textarea" not in page.html


class TestTakingBack:
    @pytest.mark.both_databases
    def test_says_what_ends_first_and_does_it_then(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA, BOB)
        lease = shop.session(org, MACHINE, ADA)
        asked = desk.post(UNASSIGN, {"user": [ADA, BOB]}, page="licenses/KSE")
        assert "Take back these 2 seats?" in asked.text
        assert f"{ADA}: the online session ends {BOB}: not online" in asked.text
        assert {ADA, BOB} == assigned()

        done = desk.post(UNASSIGN, {"user": [ADA, BOB], "confirmed": "yes"}, page="licenses/KSE")
        assert "Took back the KSE seats of 2 users." in done.text
        assert (set(), SessionEnding.UNASSIGNED) == (assigned(), Lease.objects.get(pk=lease.pk).ending)

    def test_says_until_when_offline_seats_stay(self, org: Organization, desk: Desk) -> None:
        offline_shop.issue("KSE", organization=org.name, user=ADA)
        shop.assign(org, "KSE", ADA)
        stays = "is bound to an offline licence through 31 May 2024 and cannot be taken back"
        asked = desk.post(UNASSIGN, {"user": ADA}, page="licenses/KSE")
        assert f"{ADA}: not online; a second seat {stays}" in asked.text

        done = desk.post(UNASSIGN, {"user": ADA, "confirmed": "yes"}, page="licenses/KSE")
        assert f"Took back the KSE seat of {ADA}." in done.text
        assert f"{ADA} offline licence, through 31 May 2024" in done.section("users")
        assert f'value="{ADA}"' not in done.html
        again = desk.post(UNASSIGN, {"user": ADA}, page="licenses/KSE")
        assert f"The seat of {ADA} {stays}." in again.text
        forced = desk.post(UNASSIGN, {"user": ADA, "confirmed": "yes"}, page="licenses/KSE")
        assert "bound to an offline licence until 2024-06-01T00:00:00Z" in forced.text

    @pytest.mark.both_databases
    def test_takes_all_or_none(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA)
        done = desk.post(UNASSIGN, {"user": [ADA, BOB], "confirmed": "yes"}, page="licenses/KSE")
        assert f"No KSE seat is assigned to {BOB}; nothing was changed. Somebody may have taken it back" in done.text
        assert {ADA} == assigned()

    @sqlite_only
    @pytest.mark.parametrize(
        ("chosen", "message"),
        [([], "Nobody was chosen."), (["x"], "Nobody of those holds a seat any more."), ([BOB], "any more.")],
    )
    def test_of_nobody_is_said_to_be_so(self, org: Organization, desk: Desk, chosen: list[str], message: str) -> None:
        assert message in desk.post(UNASSIGN, {"user": chosen}, page="licenses/KSE").text


class TestTransferring:
    @pytest.fixture(autouse=True)
    def seat(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA)

    @pytest.mark.both_databases
    def test_moves_a_seat_to_a_member_without_one(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADMIN)
        shop.session(org, MACHINE, ADA)
        chosen = desk.get(f"{TRANSFER}?from={ADA}")
        assert [True, True, False, False] == [f"<option>{email}<" in chosen.html for email in (BOB, OWNER, ADA, ADMIN)]
        asked = desk.post(TRANSFER, {"from": ADA, "to": BOB}, page=f"{TRANSFER}?from={ADA}")
        assert f"{ADA} gives the seat, and the online session ends {BOB} gets it" in asked.text
        assert {ADA, ADMIN} == assigned()

        done = desk.post(TRANSFER, {"from": ADA, "to": BOB, "confirmed": "yes"}, page="licenses/KSE")
        assert (f"/organizations/{org.pk}/licenses/KSE#users", {BOB, ADMIN}) == (done.path, assigned())
        assert f"The KSE seat of {ADA} is {BOB}'s now." in done.text
        assert [SessionEnding.SEAT_MOVED] == list(Lease.objects.values_list("ending", flat=True))

    def test_is_refused_where_the_receiver_got_a_seat_meanwhile(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", BOB)
        form = {"from": ADA, "to": BOB}
        asked = desk.post(TRANSFER, form, page=f"{TRANSFER}?from={ADA}")
        assert (400, True) == (asked.status, f"{BOB} is not a member without a KSE seat." in asked.text)
        tried = desk.post(TRANSFER, form | {"confirmed": "yes"}, page=f"{TRANSFER}?from={ADA}")
        assert 409 == tried.status
        assert f"{BOB} holds a KSE seat already. To free the seat of {ADA}, unassign it." in tried.text
        stranger = desk.post(TRANSFER, {"from": ADA, "to": EVE, "confirmed": "yes"}, page=f"{TRANSFER}?from={ADA}")
        assert (409, True) == (stranger.status, "Invite the person first." in stranger.text)
        assert {ADA, BOB} == assigned()

    @sqlite_only
    @pytest.mark.parametrize("to", ["", "x", EVE, ADA])
    def test_asks_again_for_a_receiver(self, desk: Desk, to: str) -> None:
        asked = desk.post(TRANSFER, {"from": ADA, "to": to}, page=f"{TRANSFER}?from={ADA}")
        assert (400, True) == (asked.status, f"{to or 'Nobody'} is not a member without a KSE seat." in asked.text)

    def test_of_no_seat_goes_back_with_the_reason(self, org: Organization, desk: Desk) -> None:
        offline_shop.issue("KSE", organization=org.name, user=BOB)
        for giver, reason in (
            (BOB, "bound to an offline licence until 2024-06-01T00:00:00Z"),
            (ADMIN, f"No KSE seat is assigned to {ADMIN}"),
            ("x", "'x' is not an e-mail address"),
        ):
            done = desk.post(TRANSFER, {"from": giver, "to": OWNER, "confirmed": "yes"}, page="licenses/KSE")
            assert (True, {ADA}) == (reason in done.text, assigned())

    @sqlite_only
    def test_finds_one_of_many_members_by_a_part_of_the_address(self, org: Organization, desk: Desk) -> None:
        many = [f"user{number:03}@example.com" for number in range(MOST_OPTIONS)]
        members.add_members(org, many, "member", actor="test", now=shop.NOW)
        chosen = desk.get(f"{TRANSFER}?from={ADA}")
        assert f'<option value="{many[-1]}"></option>' in chosen.html
        asked = desk.post(TRANSFER, {"from": ADA, "to": f" {many[3].upper()} "}, page=f"{TRANSFER}?from={ADA}")
        assert f"{many[3]} gets it" in asked.text

    @sqlite_only
    def test_says_that_everybody_holds_a_seat(self, ledger: Ledger) -> None:
        org = shop.organization("Pair", ADA)
        shop.subscribe(org, {"KSE": 2})
        shop.assign(org, "KSE", ADA, OWNER)
        told = Desk(OWNER, org).get(f"{TRANSFER}?from={ADA}").text
        assert "Every member holds a KSE seat already. Invite somebody first." in told

    def test_works_for_floating_products_too(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KRE", ADA, ADMIN)
        path = "licenses/KRE/transfer"
        desk.post(path, {"from": ADA, "to": BOB, "confirmed": "yes"}, page="licenses/KRE")
        assert ({ADMIN, BOB}, {ADA}) == (assigned("KRE"), assigned())


@sqlite_only
@pytest.mark.parametrize(("path", "form"), [(UNASSIGN, {"user": ADA}), (TRANSFER, {"from": ADA, "to": EVE})])
def test_seats_of_another_organisation_are_not_touched(org: Organization, path: str, form: dict[str, object]) -> None:
    shop.assign(org, "KSE", ADA)
    other = found("Another Organisation")
    Desk(OWNER, other).post(path, form | {"confirmed": "yes"}, page="licenses/KSE")
    assert {ADA} == assigned()
