from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

import shop
from databases import Ledger
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.ledger.customers import members, organizations, subscriptions
from keyseat_issuer.ledger.models import Membership, Organization, Role, Subscription, Term
from keyseat_issuer.ledger.tools.plain_sql import instant_out, uuid_out
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


def refusal(call: object, *arguments: object, **options: object) -> KeyseatError:
    """Return how a call is refused."""
    with pytest.raises(KeyseatError) as refused:
        call(*arguments, **options)  # type: ignore[operator]
    return refused.value


class TestFinding:
    def test_an_organisation_is_found_by_name_in_any_spelling_by_account_and_by_id(self, ledger: Ledger) -> None:
        made = organizations.add_organization("R&D  Lab", account="Acme", actor=shop.ACTOR, now=shop.NOW)

        assert {made} == {organizations.find(typed) for typed in ("r&d lab", "ACME/R&D Lab", str(made.pk))}

    @pytest.mark.parametrize(
        ("name", "typed"),
        [
            ("Ärztehaus", "äRZTEHAUS"),
            ("Ärztehaus", "a\u0308rztehaus"),  # the same letter, written as two characters
            ("Straße 7", "STRASSE 7"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("Жук", "жУК"),
        ],
    )
    def test_upper_and_lower_case_are_one_in_every_script_and_on_every_database(
        self, ledger: Ledger, name: str, typed: str
    ) -> None:
        made = organizations.add_organization(name, account=name, actor=shop.ACTOR, now=shop.NOW)

        assert made == organizations.find(typed) == organizations.find(f"{typed}/{typed}")
        error = refusal(organizations.add_organization, typed, account=typed, actor=shop.ACTOR, now=shop.NOW)
        assert ReasonCode.ALREADY_EXISTS is error.code
        with pytest.raises(IntegrityError), transaction.atomic():  # two at the same moment
            Organization.objects.create(id=uuid4(), account=made.account, name=typed, created_at=shop.NOW)

    def test_names_of_a_ledger_of_former_days_are_found_and_the_younger_of_two_alike_by_its_id(
        self, ledger: Ledger
    ) -> None:
        MigrationExecutor(connection).migrate([("ledger", "0002_audit_head")])
        ids = [uuid4(), uuid4(), uuid4()]
        with connection.cursor() as cursor:
            for number, (pk, name) in enumerate(zip(ids, ["Ärzte", "ärzte", "Zebra"], strict=True)):
                at = instant_out(shop.NOW + timedelta(days=number))
                row = (uuid_out(pk), name, at)
                cursor.execute("INSERT INTO ledger_account (id, name, created_at) VALUES (%s, %s, %s)", row)
                cursor.execute(
                    "INSERT INTO ledger_organization (id, account_id, name, created_at) VALUES (%s, %s, %s, %s)",
                    (row[0], uuid_out(ids[2] if number == 2 else ids[0]), name, at),
                )

        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes("ledger"))

        assert [ids[0], ids[1], ids[2]] == [
            organizations.find(typed).pk for typed in ("ÄRZTE", str(ids[1]), "ZEBRA/zebra")
        ]

    def test_an_unknown_one_is_answered_with_those_that_look_like_it(self, ledger: Ledger) -> None:
        shop.organization("Acme Corporation")
        shop.organization("Zebra")

        error = refusal(organizations.find, "Acme Corporatoin")

        assert ReasonCode.NOT_FOUND is error.code
        assert ["Acme Corporation"] == error.details["did_you_mean"]
        assert "Did you mean 'Acme Corporation'?" in error.message

    def test_half_a_name_is_answered_with_the_whole_ones(self, ledger: Ledger) -> None:
        for name in ("Acme Corporation of Northern Europe", "Zebra"):
            shop.organization(name)

        assert ["Acme Corporation of Northern Europe"] == refusal(organizations.find, " northern ").details[
            "did_you_mean"
        ]
        assert "did_you_mean" not in refusal(organizations.find, "no").details

    def test_one_name_in_two_accounts_must_be_written_with_its_account(self, ledger: Ledger) -> None:
        for account in ("Acme", "Zebra"):
            organizations.add_organization("Lab", account=account, actor=shop.ACTOR, now=shop.NOW)

        assert ReasonCode.INVALID_INPUT is refusal(organizations.find, "Lab").code
        assert "Zebra" == organizations.find("zebra/lab").account.name

    @pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x1b[31mb", "\ud800"])
    def test_a_name_that_cannot_be_shown_is_refused(self, ledger: Ledger, name: str) -> None:
        error = refusal(organizations.add_organization, name, actor=shop.ACTOR, now=shop.NOW)

        assert ReasonCode.INVALID_INPUT is error.code


class TestMembers:
    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            (" Ada@Example.COM ", "ada@example.com"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("o'neil+x@example.com", "o'neil+x@example.com"),
        ],
    )
    def test_an_address_is_kept_in_one_spelling(self, typed: str, kept: str) -> None:
        assert kept == members.normalize_email(typed)

    @pytest.mark.parametrize(
        "typed",
        [
            "",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            "a@b@c.com",
            "a@" + "x" * 300,
            "a\x00@example.com",
            "a@exa\u2028mple.com",
            "ada@straße.example",  # strasse.example to some software, a domain of its own to other
            "ada@exam\u200dple.com",
            "ada@\uff45xample.com",
            "ada@example。com",
            "\u017fam@example.com",  # a long s: upper case makes "SAM" of it
            "\u0131da@example.com",  # an i without its dot
            "ädä@example.com",
        ],
    )
    def test_what_is_no_address_is_refused(self, typed: str) -> None:
        assert ReasonCode.INVALID_INPUT is refusal(members.normalize_email, typed).code

    def test_a_member_is_added_once(self, ledger: Ledger) -> None:
        customer = shop.organization("Acme", "ada@example.com")

        error = refusal(
            members.add_members, customer, ["bob@example.com", "ADA@example.com"], Role.ADMIN, actor="x", now=shop.NOW
        )

        assert ReasonCode.ALREADY_EXISTS is error.code
        assert 2 == Membership.objects.filter(organization=customer).count()

    def test_one_who_is_no_member_is_answered_with_those_who_look_like_it(self, ledger: Ledger) -> None:
        customer = shop.organization("Acme", "ada@example.com")

        error = refusal(members.find_member, customer, "adda@example.com")

        assert ReasonCode.NOT_A_MEMBER is error.code
        assert "ada@example.com" in error.details["did_you_mean"]

    def test_owners_are_listed_first(self, ledger: Ledger) -> None:
        customer = shop.organization("Acme", "ada@example.com")

        assert ["owner@example.com", "ada@example.com"] == [m.email for m in members.list_members(customer)]


class TestPeriods:
    def test_an_annual_one_is_a_year_by_default(self) -> None:
        assert shop.END == subscriptions.period_end(
            Term.ANNUAL, shop.START, periods=None, ends_at=None, policy=shop.POLICY
        )

    def test_one_that_starts_on_a_leap_day_ends_on_the_last_day_before_28_february(self) -> None:
        start = datetime(2024, 2, 29, tzinfo=UTC)

        assert datetime(2025, 2, 28, tzinfo=UTC) == subscriptions.period_end(
            Term.ANNUAL, start, periods=1, ends_at=None, policy=shop.POLICY
        )

    def test_a_monthly_one_is_a_month_by_default_and_fits_into_short_months(self) -> None:
        start = datetime(2023, 1, 31, tzinfo=UTC)

        assert datetime(2023, 2, 28, tzinfo=UTC) == subscriptions.period_end(
            Term.MONTHLY, start, periods=None, ends_at=None, policy=shop.POLICY
        )

    @pytest.mark.parametrize(
        ("ends_at", "days"),
        [
            (datetime(2024, 6, 2, tzinfo=UTC), ["2024-05-31", "2025-05-31"]),
            (datetime(2023, 7, 1, tzinfo=UTC), ["2024-05-31", "2025-05-31"]),
            (datetime(2025, 5, 31, tzinfo=UTC), ["2024-05-31", "2025-05-31"]),
        ],
    )
    def test_an_annual_one_that_is_not_whole_years_is_answered_with_the_right_days(
        self, ends_at: datetime, days: list[str]
    ) -> None:
        error = refusal(
            subscriptions.period_end, Term.ANNUAL, shop.START, periods=None, ends_at=ends_at, policy=shop.POLICY
        )

        assert (ReasonCode.INVALID_INPUT, days) == (error.code, error.details["ends"])

    def test_an_end_before_the_start_is_refused(self) -> None:
        error = refusal(
            subscriptions.period_end, Term.MONTHLY, shop.START, periods=None, ends_at=shop.START, policy=shop.POLICY
        )

        assert ReasonCode.INVALID_INPUT is error.code

    def test_a_length_and_an_end_together_are_refused(self) -> None:
        error = refusal(
            subscriptions.period_end, Term.ANNUAL, shop.START, periods=1, ends_at=shop.END, policy=shop.POLICY
        )

        assert ReasonCode.INVALID_INPUT is error.code

    def test_a_period_beyond_the_calendar_is_refused(self) -> None:
        start = datetime(9999, 12, 1, tzinfo=UTC)

        for term in (Term.ANNUAL, Term.MONTHLY):
            error = refusal(subscriptions.period_end, term, start, periods=10, ends_at=None, policy=shop.POLICY)
            assert ReasonCode.INVALID_INPUT is error.code

    def test_one_without_whole_years_at_the_end_of_the_calendar_is_refused(self) -> None:
        start, end = datetime(9998, 12, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
        error = refusal(subscriptions.period_end, Term.ANNUAL, start, periods=None, ends_at=end, policy=shop.POLICY)
        assert ReasonCode.INVALID_INPUT is error.code

    @pytest.mark.parametrize("term", [Term.ANNUAL, Term.MONTHLY, Term.TRIAL])
    @pytest.mark.parametrize(("years", "latest"), [(10, "2033-05-31"), (2, "2025-05-31")])
    def test_none_is_longer_than_the_policy_allows(self, term: Term, years: int, latest: str) -> None:
        policy = shop.POLICY._replace(max_years=years)
        longest = shop.START.replace(year=2023 + years)
        given = {"periods": None, "policy": policy}
        assert longest == subscriptions.period_end(term, shop.START, ends_at=longest, **given)

        for end in (longest.replace(year=longest.year + 1), datetime(9026, 6, 1, tzinfo=UTC)):
            error = refusal(subscriptions.period_end, term, shop.START, ends_at=end, **given)
            assert (ReasonCode.INVALID_INPUT, [latest]) == (error.code, error.details["ends"])
            assert f"--ends {latest}" in STEPS.of(error)


class TestSubscribing:
    def test_one_longer_than_the_policy_allows_is_not_added(self, ledger: Ledger) -> None:
        customer = shop.organization("Acme")
        error = refusal(shop.subscribe, customer, {"KSE": 1}, ends_at=datetime(9026, 6, 1, tzinfo=UTC))

        assert ReasonCode.INVALID_INPUT is error.code
        assert not Subscription.objects.exists()

    @pytest.fixture
    def customer(self, ledger: Ledger) -> Organization:
        """An organisation that bought nothing."""
        return shop.organization()

    @pytest.mark.parametrize("quota", [0, -1, 1_000_001])
    def test_a_quota_out_of_range_is_refused(self, customer: Organization, quota: int) -> None:
        assert ReasonCode.INVALID_INPUT is refusal(shop.subscribe, customer, {"KSE": quota}).code

    def test_a_product_that_is_not_in_the_catalogue_is_refused_and_nothing_is_added(
        self, customer: Organization
    ) -> None:
        error = refusal(shop.subscribe, customer, {"KSE": 1, "KSF": 1})

        assert ReasonCode.NOT_FOUND is error.code
        assert [] == subscriptions.list_subscriptions(customer, shop.NOW)

    def test_no_product_at_all_is_refused(self, customer: Organization) -> None:
        assert ReasonCode.INVALID_INPUT is refusal(shop.subscribe, customer, {}).code

    def test_a_pool_remembers_whether_its_seats_are_named(self, customer: Organization) -> None:
        pools = shop.subscribe(customer, {"KSE": 1, "KRE": 1})

        assert ("named", "floating") == (pools["KSE"].seats, pools["KRE"].seats)

    def test_states_change_at_the_first_and_at_the_last_instant(self, customer: Organization) -> None:
        shop.subscribe(customer, {"KSE": 1}, starts_at=shop.START, ends_at=shop.END)

        states = [
            subscriptions.list_subscriptions(customer, instant)[0].state
            for instant in (shop.START.replace(month=5), shop.START, shop.END.replace(month=5), shop.END)
        ]

        assert ["upcoming", "active", "active", "ended"] == states
