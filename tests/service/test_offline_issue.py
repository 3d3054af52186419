"""Issuing offline licences through the service: every rule, what is stored, what is refused and recorded."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Allocation, AuditEvent, OfflineLicense, Pool, Term
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats import seats
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, VerificationError
from keyseat_shared.evidence import Grade
from keyseat_shared.machine_id import MachineID
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import LEASE
from keyseat_verifier.verify.verifier import Verifier
from offline_shop import ADA, BOB, ENDLESS, LAST_SECOND, SUNSET, VENDOR, issue, request, terms
from vendor import MACHINE, OTHER_MACHINE, OTHER_USER, Key, Vendor, machine

WEAK = machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[])
INSTANCE = MachineID.from_values(
    {"instance": ["0011"], "nic": ["a4bb6d0c1122"], "disk": ["S5H2"], "user-id": ["1000"]},
    instance_source="instance-file",
)


def refusal(product: str = "KSE", now: datetime = shop.NOW, vendor: Vendor = VENDOR, **changes: object) -> KeyseatError:
    """Return why a licence is not issued, after checking that nothing was and that the attempt is on record."""
    before = OfflineLicense.objects.count()
    with pytest.raises(KeyseatError) as caught:
        issue(product, now, vendor, **changes)
    assert before == OfflineLicense.objects.count()
    newest = AuditEvent.objects.latest("seq")
    assert "offline.issue.refused" == newest.action
    assert f'"code":"{caught.value.code}"' in newest.details
    return caught.value


class TestIssuing:
    def test_a_licence_is_what_the_clients_verifier_accepts(self, ledger: Ledger) -> None:
        offline_shop.customer()

        made = issue()

        verified = Verifier(VENDOR.bundle, product="KSE").verify(made.file, machine=MACHINE, now=shop.NOW)
        assert (str(made.license_id), ADA, str(MACHINE)) == (verified.license_id, verified.user, verified.machine_id)
        assert (shop.NOW, shop.END) == (verified.issued_at, verified.expires_at)
        assert VENDOR.policy.digest() == verified.policy
        assert len(made.file) < 2048

    def test_the_ledger_holds_the_exact_file_its_seat_and_its_audit_row(self, ledger: Ledger) -> None:
        customer = offline_shop.customer()

        made = issue()

        row = OfflineLicense.objects.get(pk=made.license_id)
        assert made.file == bytes(row.file)
        assert hashlib.sha256(made.file).hexdigest() == row.file_sha256
        assert ("offline", 1, shop.END) == (row.allocation.kind, row.allocation.count, row.allocation.expires_at)
        assert 1 == Pool.objects.get(product="KSE").used
        event = AuditEvent.objects.latest("seq")
        assert ("offline.issued", str(made.license_id), customer.pk) == (
            event.action,
            event.subject,
            event.organization_id,
        )
        assert () == verify().findings

    def test_the_machine_id_may_be_typed_with_spaces_and_capitals(self, ledger: Ledger) -> None:
        offline_shop.customer()
        typed = " ".join(str(MACHINE).upper()[place : place + 8] for place in range(0, 80, 8))

        assert str(MACHINE) == issue(machine_id=typed).machine_id

    def test_the_organisation_and_the_user_may_be_typed_in_any_case(self, ledger: Ledger) -> None:
        offline_shop.customer()

        assert ADA == issue(organization="example  ORGANISATION", user=" Ada@Example.com ").user

    def test_an_earlier_expiry_is_taken(self, ledger: Ledger) -> None:
        offline_shop.customer()
        chosen = datetime(2023, 9, 1, tzinfo=UTC)

        assert chosen == issue(expires_at=chosen).expires_at

    def test_several_sessions_take_several_seats(self, ledger: Ledger) -> None:
        offline_shop.customer(kre=3)

        assert 2 == issue("KRE", sessions=2).sessions
        assert 2 == Pool.objects.get(product="KRE").used
        assert ReasonCode.QUOTA_EXCEEDED == refusal("KRE", sessions=2).code

    def test_several_floating_licences_on_one_machine_are_normal_and_counted(self, ledger: Ledger) -> None:
        offline_shop.customer()
        issue("KRE")
        issue("KRE")

        assert 2 == licenses.preview(request("KRE"), terms()).sessions_on_machine

    def test_features_reach_the_file(self, ledger: Ledger) -> None:
        offline_shop.customer()

        made = issue(features=("beta",))

        verified = Verifier(VENDOR.bundle).verify(made.file, machine=MACHINE, now=shop.NOW)
        assert ("beta",) == verified.features


class TestSunset:
    def test_the_last_second_before_it_issues_and_the_next_refuses(self, ledger: Ledger) -> None:
        offline_shop.customer()

        made = issue(now=LAST_SECOND)
        error = refusal(now=SUNSET, user=BOB)

        assert LAST_SECOND == made.issued_at
        assert ReasonCode.ISSUED_AFTER_SUNSET == error.code
        assert "Activate online" in error.next_step

    def test_a_licence_from_before_lives_until_its_own_expiry(self, ledger: Ledger) -> None:
        offline_shop.customer()
        made = issue(now=LAST_SECOND)
        verifier = Verifier(VENDOR.bundle)

        verifier.verify(made.file, machine=MACHINE, now=shop.END - timedelta(seconds=1))
        with pytest.raises(VerificationError) as caught:
            verifier.verify(made.file, machine=MACHINE, now=shop.END)
        assert ReasonCode.EXPIRED == caught.value.code

    def test_a_clock_set_back_before_it_gets_no_licence(self, ledger: Ledger) -> None:
        offline_shop.customer()
        refusal(now=SUNSET + timedelta(hours=1))

        assert ReasonCode.CLOCK_ROLLED_BACK == refusal(now=LAST_SECOND).code

    def test_within_five_minutes_the_ledgers_own_time_counts(self, ledger: Ledger) -> None:
        offline_shop.customer()
        refusal(now=SUNSET + timedelta(minutes=1))

        assert ReasonCode.ISSUED_AFTER_SUNSET == refusal(now=LAST_SECOND).code

    def test_a_vendor_without_one_issues_for_ever(self, ledger: Ledger) -> None:
        customer = shop.organization(offline_shop.NAME, ADA)
        now = datetime(2027, 6, 1, tzinfo=UTC)
        shop.subscribe(customer, {"KSE": 1}, starts_at=now, ends_at=datetime(2028, 6, 1, tzinfo=UTC))

        assert now == issue(now=now, vendor=ENDLESS).issued_at


class TestSubscription:
    @pytest.mark.parametrize(
        ("term", "ends_at"),
        [(Term.MONTHLY, datetime(2023, 7, 1, tzinfo=UTC)), (Term.TRIAL, datetime(2023, 7, 1, tzinfo=UTC))],
    )
    def test_only_annual_ones_are_converted(self, ledger: Ledger, term: Term, ends_at: datetime) -> None:
        customer = shop.organization(offline_shop.NAME, ADA)
        shop.subscribe(customer, {"KSE": 5}, term=term, ends_at=ends_at)

        assert ReasonCode.NOT_ANNUAL == refusal().code

    def test_the_annual_one_is_chosen_among_others(self, ledger: Ledger) -> None:
        customer = shop.organization(offline_shop.NAME, ADA)
        shop.subscribe(customer, {"KSE": 5}, term=Term.MONTHLY, ends_at=datetime(2023, 7, 1, tzinfo=UTC))
        annual = shop.subscribe(customer, {"KSE": 5})["KSE"]

        assert annual.pk == OfflineLicense.objects.get(pk=issue().license_id).pool_id

    def test_the_one_that_serves_longest_is_chosen_while_it_has_a_seat(self, ledger: Ledger) -> None:
        customer = shop.organization(offline_shop.NAME, ADA, BOB)
        shop.subscribe(customer, {"KSE": 5})
        shop.subscribe(customer, {"KSE": 1}, ends_at=datetime(2025, 6, 1, tzinfo=UTC))

        assert [datetime(2025, 6, 1, tzinfo=UTC), shop.END] == [issue().expires_at, issue(user=BOB).expires_at]

    def test_a_named_one_is_taken_or_refused(self, ledger: Ledger) -> None:
        customer = shop.organization(offline_shop.NAME, ADA)
        wanted = shop.subscribe(customer, {"KSE": 5})["KSE"]
        shop.subscribe(customer, {"KSE": 1}, ends_at=datetime(2025, 6, 1, tzinfo=UTC))

        assert ReasonCode.NOT_FOUND == refusal(subscription="nonsense").code
        assert shop.END == issue(subscription=str(wanted.subscription_id)).expires_at

    def test_one_that_has_not_begun_cannot_be_used(self, ledger: Ledger) -> None:
        customer = shop.organization(offline_shop.NAME, ADA)
        begins = datetime(2023, 7, 1, tzinfo=UTC)
        shop.subscribe(customer, {"KSE": 5}, starts_at=begins, ends_at=datetime(2024, 7, 1, tzinfo=UTC))

        assert ReasonCode.NOT_YET_VALID == refusal(now=begins - timedelta(seconds=1)).code
        assert begins == issue(now=begins).issued_at

    def test_one_that_has_ended_cannot_be_used(self, ledger: Ledger) -> None:
        offline_shop.customer()

        assert ReasonCode.SUBSCRIPTION_ENDED == refusal(now=shop.END, vendor=ENDLESS).code

    def test_a_product_that_was_not_bought_is_named(self, ledger: Ledger) -> None:
        customer = shop.organization(offline_shop.NAME, ADA)
        shop.subscribe(customer, {"KRE": 5})

        assert "no subscription with KSE" in refusal().message


class TestExpiry:
    def test_past_the_subscription_is_refused_by_a_second(self, ledger: Ledger) -> None:
        offline_shop.customer()

        assert ReasonCode.EXPIRY_AFTER_SUBSCRIPTION == refusal(expires_at=shop.END + timedelta(seconds=1)).code

    @pytest.mark.parametrize("ago", [timedelta(0), timedelta(days=300)])
    def test_in_the_past_is_refused(self, ledger: Ledger, ago: timedelta) -> None:
        offline_shop.customer()

        assert ReasonCode.EXPIRY_IN_PAST == refusal(expires_at=shop.NOW - ago).code


class TestQuota:
    def test_gone_is_gone_and_says_when_a_seat_comes_back(self, ledger: Ledger) -> None:
        offline_shop.customer(kse=1)
        issue(expires_at=datetime(2023, 9, 1, tzinfo=UTC))

        error = refusal(user=BOB)

        assert ReasonCode.QUOTA_EXCEEDED == error.code
        assert "2023-09-01T00:00:00Z" == error.details["next_expiry"]

    def test_the_seat_comes_back_by_itself_at_the_expiry(self, ledger: Ledger) -> None:
        offline_shop.customer(kse=1)
        end = datetime(2023, 9, 1, tzinfo=UTC)
        issue(expires_at=end)

        assert ReasonCode.QUOTA_EXCEEDED == refusal(user=BOB, now=end - timedelta(seconds=1)).code
        assert BOB == issue(user=BOB, now=end).user
        assert 1 == Pool.objects.get(product="KSE").used

    def test_an_assigned_seat_is_converted_in_place(self, ledger: Ledger) -> None:
        customer = offline_shop.customer(kse=1)
        shop.assign(customer, "KSE", ADA)

        issue()

        assert 1 == Pool.objects.get(product="KSE").used
        assert ["converted"] == list(Allocation.objects.filter(kind="named").values_list("ending", flat=True))
        assert () == verify().findings

    def test_a_converted_seat_cannot_be_taken_back_or_transferred(self, ledger: Ledger) -> None:
        customer = offline_shop.customer(kse=1)
        shop.assign(customer, "KSE", ADA)
        issue()

        for act in (
            lambda: seats.unassign(customer, "KSE", [ADA], actor=shop.ACTOR, now=shop.NOW),
            lambda: seats.transfer(customer, "KSE", ADA, BOB, actor=shop.ACTOR, now=shop.NOW),
        ):
            with pytest.raises(KeyseatError) as caught:
                act()
            assert ReasonCode.SEAT_LOCKED_OFFLINE == caught.value.code

    def test_it_stays_consumed_when_the_member_leaves(self, ledger: Ledger) -> None:
        customer = offline_shop.customer(kse=1)
        issue()
        members.remove_member(customer, ADA, actor=shop.ACTOR, now=shop.NOW)

        assert ReasonCode.QUOTA_EXCEEDED == refusal(user=BOB).code

    def test_somebody_elses_assigned_seat_is_not_touched(self, ledger: Ledger) -> None:
        customer = offline_shop.customer(kse=1)
        shop.assign(customer, "KSE", BOB)

        assert ReasonCode.QUOTA_EXCEEDED == refusal().code


class TestMachine:
    def test_a_second_active_licence_of_user_and_machine_is_refused(self, ledger: Ledger) -> None:
        offline_shop.customer()
        made = issue()

        error = refusal()

        assert ReasonCode.ALREADY_BOUND == error.code
        assert str(made.license_id) in STEPS.of(error)

    def test_so_is_one_for_the_same_machine_by_the_matching_rules(self, ledger: Ledger) -> None:
        offline_shop.customer()
        issue()

        assert ReasonCode.ALREADY_BOUND == refusal(machine_id=str(machine(nic=["3c5282aabbcc"], disk=["NEW"]))).code

    def test_after_its_end_the_user_gets_another(self, ledger: Ledger) -> None:
        offline_shop.customer(kse=1)
        end = datetime(2023, 9, 1, tzinfo=UTC)
        issue(expires_at=end)

        assert shop.END == issue(now=end).expires_at

    @pytest.mark.parametrize("other", [OTHER_MACHINE, OTHER_USER], ids=["machine", "account"])
    def test_another_machine_or_account_takes_another_seat(self, ledger: Ledger, other: MachineID) -> None:
        offline_shop.customer()
        issue()
        issue(machine_id=str(other))

        assert 2 == Pool.objects.get(product="KSE").used

    def test_a_weak_id_needs_to_be_accepted_and_that_is_recorded(self, ledger: Ledger) -> None:
        offline_shop.customer()
        assert Grade.WEAK == WEAK.grade

        assert ReasonCode.MACHINE_WEAK == refusal(machine_id=str(WEAK)).code
        issue(machine_id=str(WEAK), accept_weak=True)
        assert '"accepted_weak":true' in AuditEvent.objects.latest("seq").details

    def test_forbidden_evidence_is_refused_even_if_weak_is_accepted(self, ledger: Ledger) -> None:
        offline_shop.customer()
        strict = Vendor(policy=default_policy()._replace(forbidden_evidence=("instance-file",)))

        error = refusal(vendor=strict, machine_id=str(INSTANCE), accept_weak=True)

        assert ReasonCode.MACHINE_WEAK == error.code
        assert str(INSTANCE) == issue(machine_id=str(INSTANCE), accept_weak=True).machine_id

    def test_a_mistyped_id_names_the_character(self, ledger: Ledger) -> None:
        offline_shop.customer()
        text = str(MACHINE)
        wrong = text[:20] + ("q" if text[20] != "q" else "p") + text[21:]

        error = refusal(machine_id=wrong)

        assert ReasonCode.MALFORMED == error.code
        assert [21] == error.details["positions"]


class TestNames:
    def test_an_unknown_organisation_is_guessed_at(self, ledger: Ledger) -> None:
        offline_shop.customer()

        assert {"did_you_mean": [offline_shop.NAME]} == refusal(organization="Exampel Organisation").details

    def test_an_unknown_product_is_guessed_at(self, ledger: Ledger) -> None:
        offline_shop.customer()

        error = refusal(product="KSEE", user=ADA)

        assert ReasonCode.NOT_FOUND == error.code
        assert {"did_you_mean": ["KSE"]} == error.details

    def test_who_is_no_member_gets_no_licence(self, ledger: Ledger) -> None:
        offline_shop.customer()

        error = refusal(user="adda@example.com")

        assert ReasonCode.NOT_A_MEMBER == error.code
        assert [ADA] == error.details["did_you_mean"][:1]  # type: ignore[index]

    @pytest.mark.parametrize(
        ("product", "changes"),
        [
            ("KSE", {"user": None}),
            ("KSE", {"sessions": 2}),
            ("KRE", {"user": ADA}),
            ("KRE", {"sessions": 0}),
            ("KRE", {"sessions": 10_001}),
            ("KSE", {"user": "no address"}),
        ],
    )
    def test_requests_that_make_no_sense_are_wrong_input(
        self, ledger: Ledger, product: str, changes: dict[str, object]
    ) -> None:
        offline_shop.customer()

        assert ReasonCode.INVALID_INPUT == refusal(product, **changes).code


class TestSelfVerification:
    """A licence that its client would refuse never comes into being."""

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            (Key("vendor lease"), ReasonCode.KEY_NOT_VALID),
            (Key("stranger"), ReasonCode.UNKNOWN_KEY),
        ],
    )
    def test_a_wrong_signing_key_issues_nothing(self, ledger: Ledger, key: Key, code: ReasonCode) -> None:
        offline_shop.customer()

        class Wrong:
            def sign(self, payload_type: str, payload: bytes) -> bytes:
                return VENDOR.signed(payload, key, payload_type=payload_type)

        with pytest.raises(KeyseatError) as caught:
            licenses.issue(request(), replace(terms(), signer=Wrong()))

        assert code == caught.value.code
        assert "nothing was issued" in caught.value.message
        assert (0, 0) == (OfflineLicense.objects.count(), Pool.objects.get(product="KSE").used)
        assert "offline.issue.refused" == AuditEvent.objects.latest("seq").action

    def test_a_key_past_its_window_issues_nothing(self, ledger: Ledger) -> None:
        offline_shop.customer()
        ended = VENDOR.trusted(VENDOR.key, valid_until=shop.NOW)
        bundle = VENDOR.bundle_with(ended, VENDOR.trusted(VENDOR.lease_key, LEASE))

        with pytest.raises(KeyseatError) as caught:
            licenses.issue(request(), replace(terms(), trust=bundle))

        assert ReasonCode.KEY_NOT_VALID == caught.value.code
        assert 0 == OfflineLicense.objects.count()


class TestPreview:
    def test_it_tells_everything_and_changes_nothing(self, ledger: Ledger) -> None:
        customer = offline_shop.customer(kse=3)
        shop.assign(customer, "KSE", ADA)
        before = AuditEvent.objects.count()

        told = licenses.preview(request(), terms()).to_dict()

        assert (str(MACHINE), "strong") == (told["machine_id"], told["grade"])
        assert (3, 1, 1, True) == (
            told["quota"],
            told["used_before"],
            told["used_after"],
            told["converts_named_seat"],
        )
        assert "2024-06-01T00:00:00Z" == told["locked_until"]
        assert (before, 0) == (AuditEvent.objects.count(), OfflineLicense.objects.count())

    def test_its_refusal_is_a_refused_attempt_unless_it_was_a_dry_run(self, ledger: Ledger) -> None:
        customer = offline_shop.customer()
        before = AuditEvent.objects.count()

        for dry_run in (True, False):
            with pytest.raises(KeyseatError):
                licenses.preview(request(user="eve@example.com"), terms(), dry_run=dry_run)

        assert before + 1 == AuditEvent.objects.count()
        assert customer.pk == AuditEvent.objects.latest("seq").organization_id

    def test_it_warns_that_the_id_is_bound_elsewhere(self, ledger: Ledger) -> None:
        offline_shop.customer()
        offline_shop.customer(name="Somebody Else")
        issue(organization="Somebody Else")

        [conflict] = licenses.preview(request(), terms()).conflicts

        assert (True, "Somebody Else") == (conflict.elsewhere, conflict.organization)

    def test_it_warns_of_another_account_on_the_same_machine(self, ledger: Ledger) -> None:
        offline_shop.customer()
        issue(machine_id=str(OTHER_USER), user=BOB)

        [warning] = licenses.preview(request(), terms()).warnings

        assert "another account" in warning

    def test_it_warns_of_evidence_from_a_file_and_of_the_administrator(self, ledger: Ledger) -> None:
        offline_shop.customer()
        values = {"instance": ["0011"], "nic": ["a4bb6d0c1122"], "disk": ["S5H2"], "user-id": ["0"]}
        found = MachineID.from_values(values, instance_source="instance-file")

        warnings = " ".join(licenses.preview(request(machine_id=str(found)), terms()).warnings)

        assert "instance id from a file" in warnings
        assert "administrator" in warnings

    def test_it_warns_of_an_id_that_holds_more_than_most_machines_have(self, ledger: Ledger) -> None:
        offline_shop.customer()
        found = machine(nic=["a4bb6d0c1122", "a4bb6d0c1123", "a4bb6d0c1124", "a4bb6d0c1125"])

        [warning] = licenses.preview(request(machine_id=str(found)), terms()).warnings

        assert "It holds 4 network adapters, more than most machines have" in warning


class TestFinding:
    def test_a_licence_is_found_by_the_beginning_of_its_id(self, ledger: Ledger) -> None:
        offline_shop.customer()
        made = issue()

        assert made.license_id == licenses.find(str(made.license_id)[:30].upper()).license_id

    def test_a_beginning_of_several_ids_is_not_enough(self, ledger: Ledger) -> None:
        offline_shop.customer()
        issue()
        made = issue(user=BOB)

        with pytest.raises(KeyseatError) as caught:
            licenses.find(str(made.license_id)[:8])

        assert ReasonCode.INVALID_INPUT == caught.value.code

    @pytest.mark.parametrize(
        ("typed", "code"),
        [
            ("01890000-0000-7000-8000-000000000000", ReasonCode.NOT_FOUND),
            ("abc", ReasonCode.INVALID_INPUT),
            ("not an id", ReasonCode.INVALID_INPUT),
            ("0" * 33, ReasonCode.INVALID_INPUT),
        ],
    )
    def test_what_is_no_licence_is_not_found(self, ledger: Ledger, typed: str, code: ReasonCode) -> None:
        with pytest.raises(KeyseatError) as caught:
            licenses.find(typed)

        assert code == caught.value.code

    def test_an_export_is_the_file_byte_for_byte_and_recorded(self, ledger: Ledger) -> None:
        offline_shop.customer()
        made = issue()

        again = licenses.export(str(made.license_id), actor="somebody", now=shop.NOW)

        assert made == again
        events = licenses.history(licenses.find(str(made.license_id)))
        assert [("offline.issued", "test"), ("offline.exported", "somebody")] == [(e.action, e.actor) for e in events]

    def test_lists_are_narrowed_by_organisation_user_machine_and_end(self, ledger: Ledger) -> None:
        customer = offline_shop.customer()
        offline_shop.customer(name="Somebody Else")
        soon = issue(expires_at=datetime(2023, 6, 10, tzinfo=UTC)).license_id
        later = issue(user=BOB, machine_id=str(OTHER_MACHINE)).license_id
        # A second later: licences that end together are listed in the order in which they were made.
        other = issue(organization="Somebody Else", now=shop.NOW + timedelta(seconds=1)).license_id

        def listed(now: datetime = shop.NOW, **narrow: object) -> list[object]:
            return [row.license_id for row in licenses.selected(now=now, **narrow).ordered]  # type: ignore[arg-type]

        assert [soon, later, other] == listed()
        assert [soon, later] == listed(organization=customer)
        assert [later] == listed(user=BOB)
        assert [soon, other] == listed(machine_id=MACHINE)
        assert [soon] == listed(expiring_days=30)
        assert [later, other] == listed(now=datetime(2023, 6, 10, tzinfo=UTC))
        assert [soon, later, other] == listed(now=datetime(2023, 6, 10, tzinfo=UTC), everything=True)


def test_the_pool_shows_what_offline_licences_hold(ledger: Ledger) -> None:
    offline_shop.customer(kse=3)
    issue(expires_at=datetime(2023, 9, 1, tzinfo=UTC))

    figures = pools.availability(Pool.objects.get(product="KSE"), shop.NOW)

    assert (1, 2, 1, datetime(2023, 9, 1, tzinfo=UTC)) == (
        figures.used,
        figures.available,
        figures.offline,
        figures.next_expiry,
    )


def test_nothing_is_issued_that_clients_could_not_check(ledger: Ledger) -> None:
    offline_shop.customer()
    vendor = Vendor(policy=default_policy()._replace(freshness_required=("offline",)))
    vendor.fresh_until = shop.NOW

    error = refusal(vendor=vendor)

    assert (ReasonCode.TRUST_STALE, True) == (error.code, "keyseat-issuer trust renew" in STEPS.of(error))
    vendor.fresh_until = shop.NOW + timedelta(seconds=1)
    issue(vendor=vendor)
    assert 1 == OfflineLicense.objects.count()
