"""API keys, the audit log and the usage report over the administration API."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta

import pytest

import shop
from activation import make_key, problem
from administration import ADA, ADMIN, Office, administered, found, key_with
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.customers import api_keys, members
from keyseat_issuer.ledger.models import ApiKey, Lease, Organization, Pool
from keyseat_issuer.ledger.seats import utilisation
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_issuer.web.models import User
from vendor import MACHINE


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    with administered(found()) as running:
        yield running


class TestApiKeys:
    @pytest.mark.both_databases
    def test_are_shown_once_and_work(self, office: Office) -> None:
        made = office.call("POST", "/api-keys", {"name": "CI", "scopes": ["sessions"], "expires_at": "2023-12-31"})

        assert 201 == made.status_code
        assert ("CI", "active", "2024-01-01T00:00:00Z") == tuple(
            made.json()["api_key"][field] for field in ("name", "state", "expires_at")
        )
        assert 201 == office.site.acquire(key=made.json()["key"]).status_code
        listed = office.call("GET", "/api-keys")
        assert made.json()["key"] not in listed.text
        assert ["CI"] == [entry["name"] for entry in listed.json()["api_keys"]]

    def test_that_are_revoked_stop_working(self, office: Office) -> None:
        key = make_key(office.organization)
        row = ApiKey.objects.get(prefix=key[4:12])

        assert "revoked" == office.call("DELETE", f"/api-keys/{row.pk}").json()["state"]
        assert (401, "NOT_ALLOWED", "revoked") == problem(office.site.acquire(key=key))

    @pytest.mark.parametrize(
        ("body", "code", "status"),
        [
            ({"name": "CI", "scopes": ["everything"]}, "INVALID_INPUT", 422),
            ({"name": "CI", "scopes": []}, "INVALID_INPUT", 422),
            ({"name": " ", "scopes": ["sessions"]}, "INVALID_INPUT", 422),
            ({"name": "CI", "scopes": ["sessions"], "expires_at": "2020-01-01"}, "EXPIRY_IN_PAST", 409),
            ({"name": "CI", "scopes": ["sessions"], "expires_at": "soon"}, "INVALID_INPUT", 422),
            ({"name": "CI", "scopes": ["sessions"], "owner": "me"}, "INVALID_INPUT", 422),
        ],
    )
    def test_that_make_no_sense_are_refused(
        self, office: Office, body: dict[str, object], code: str, status: int
    ) -> None:
        assert (status, code, None) == problem(office.call("POST", "/api-keys", body))
        assert not ApiKey.objects.exists()

    def test_of_another_organisation_cannot_be_revoked(self, office: Office) -> None:
        key = make_key(found("Another Organisation"))
        row = ApiKey.objects.get(prefix=key[4:12])

        assert (404, "NOT_FOUND", None) == problem(office.call("DELETE", f"/api-keys/{row.pk}"))
        assert "active" == api_keys.state(ApiKey.objects.get(pk=row.pk), shop.NOW)


class TestAudit:
    @pytest.mark.both_databases
    def test_shows_what_happened_in_ones_own_organisation(self, office: Office) -> None:
        foreign = found("Another Organisation")
        shop.assign(foreign, "KSE", ADA)
        office.call("POST", "/seats/KSE/assign", {"emails": [ADA]}, who="admin")
        office.call("POST", "/seats/KSE/assign", {"emails": ["eve@example.org"]}, who="admin")

        newest, before = office.get("/audit?limit=2")["events"]

        assert ("seat.assigned.refused", "NOT_A_MEMBER") == (newest["action"], newest["details"]["code"])
        assert ("seat.assigned", f"user:{ADMIN}", ADA) == (
            before["action"],
            before["actor"],
            before["subject"],
        )

    def test_does_not_name_the_accounts_of_the_vendors_staff(self, office: Office) -> None:
        members.add_members(
            office.organization, ["new@example.com"], members.Role.MEMBER, actor="cli:jane", now=shop.NOW
        )

        assert "vendor" == office.get("/audit?limit=1")["events"][0]["actor"]


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.both_databases
class TestUsage:
    def test_has_a_line_for_each_session_with_name_and_duration(self, office: Office) -> None:
        User.objects.create_user(ADA, "a long password", name="Ada Lovelace")
        shop.assign(office.organization, "KSE", ADA)
        mine = office.site.acquire("KSE", key="ada").json()["session_id"]
        office.clock.advance(minutes=41, seconds=5)
        office.site.release(mine, key="ada")
        key = make_key(office.organization, now=office.clock.now)
        running = office.site.acquire(key=key).json()["session_id"]
        office.clock.advance(minutes=2)

        answer = office.call("GET", "/usage.csv")

        assert "text/csv; charset=utf-8" == answer.headers["content-type"]
        assert 'attachment; filename="usage_2023-05-02_2023-06-01.csv"' == answer.headers["content-disposition"]
        assert [
            ["User name", "E-mail", "Session ID", "Machine ID", "Licence type", "Start", "Duration"],
            ["Ada Lovelace", ADA, mine, str(MACHINE), "KSE", "2023-06-01T12:00:00Z", "0:41:05"],
            [f"API key ci ({key[4:12]})", "", running, str(MACHINE), "KRE", "2023-06-01T12:41:05Z", "0:02:00"],
        ] == rows_of(answer.text)

    def test_lets_a_session_that_died_end_with_its_lease(self, office: Office) -> None:
        office.site.acquire(key=make_key(office.organization))
        lease = Lease.objects.get()
        office.clock.advance(days=3)

        [_, row] = rows_of(office.call("GET", "/usage.csv").text)

        assert str(lease.expires_at - lease.started_at) == row[6]

    def test_gives_a_spreadsheet_no_formula_to_run(self, office: Office) -> None:
        User.objects.create_user("mallory@example.com", "a long password", name='=HYPERLINK("http://evil.example")')
        members.add_members(
            office.organization, ["mallory@example.com"], members.Role.MEMBER, actor="test", now=shop.NOW
        )
        add_lease(office.organization, "mallory@example.com")
        office.clock.advance(hours=2)

        [_, row] = rows_of(office.call("GET", "/usage.csv").text)

        assert '\'=HYPERLINK("http://evil.example")' == row[0]

    def test_covers_the_period_asked_for(self, office: Office) -> None:
        add_lease(office.organization, ADA)

        def lines(query: str) -> int:
            return len(rows_of(office.call("GET", f"/usage.csv?{query}").text)) - 1

        assert [1, 1, 0, 0] == [
            lines("from=2023-06-01&to=2023-06-01"),
            lines("from=2022-06-02&to=2023-06-01"),
            lines("from=2023-06-02&to=2023-06-03"),
            lines("to=2023-06-01T12:00:00Z"),
        ]

    @pytest.mark.parametrize("query", ["from=2022-06-01&to=2023-06-01", "from=2023-06-02&to=2023-05-01", "from=never"])
    def test_is_of_one_year_at_most(self, office: Office, query: str) -> None:
        assert (422, "INVALID_INPUT", None) == problem(office.call("GET", f"/usage.csv?{query}"))

    def test_leaves_out_other_organisations(self, office: Office) -> None:
        add_lease(found("Another Organisation"), ADA)
        office.clock.advance(hours=2)

        assert 1 == len(rows_of(office.call("GET", "/usage.csv").text))

    def test_comes_whole_in_pages(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(utilisation, "PAGE", 2)
        made = [add_lease(office.organization, ADA) for _ in range(5)]
        office.clock.advance(hours=2)

        rows = rows_of(office.call("GET", "/usage.csv", who=key_with(office.organization, "audit:read")).text)

        assert sorted(str(lease.pk) for lease in made) == sorted(row[2] for row in rows[1:])


def add_lease(organization: Organization, email: str) -> Lease:
    """Add a session that ran for an hour, as the service leaves it."""
    return Lease.objects.create(
        id=new_id(shop.NOW),
        pool=Pool.objects.get(subscription__organization=organization, product="KSE"),
        organization=organization,
        product="KSE",
        holder=email,
        email=email,
        machine_id=str(MACHINE),
        seats=0,
        started_at=shop.NOW,
        renewed_at=shop.NOW,
        expires_at=shop.NOW + timedelta(hours=1),
        ended_at=shop.NOW + timedelta(hours=1),
        ending="RELEASED",
    )


@pytest.mark.both_databases
def test_keys_and_reports_leave_the_audit_log_whole(office: Office) -> None:
    office.call("POST", "/api-keys", {"name": "CI", "scopes": ["sessions"]})
    office.call("GET", "/usage.csv")

    assert verify().ok
