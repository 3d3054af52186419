"""`audit verify` compares every licence with the row that issued it, with its own file, and with its seat."""

import hashlib

import pytest
from django.db import connection

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import Allocation, OfflineLicense
from keyseat_issuer.ledger.tools.append_only import AppendOnlyError


@pytest.fixture
def issued(ledger: Ledger) -> OfflineLicense:
    """One licence of Ada's, in a ledger that agrees with itself."""
    offline_shop.customer()
    offline_shop.issue()
    assert () == verify().findings
    return OfflineLicense.objects.get()


def tamper(column: str, value: object) -> None:
    """Change a column of every licence behind the ledger's back."""
    written = OfflineLicense._meta.get_field(column).get_db_prep_save(value, connection)
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(column)  # PostgreSQL has a `user` of its own
        cursor.execute(f"UPDATE ledger_offlinelicense SET {name} = %s", [written])  # noqa: S608 - columns of ours


def found() -> set[str]:
    """Return what the check finds at licences."""
    return {finding.what for finding in verify().findings if finding.place.startswith("licence ")}


def test_the_licences_are_counted(issued: OfflineLicense) -> None:
    report = verify()

    assert (1, ()) == (report.licenses, report.findings)


def test_a_changed_file_is_found(issued: OfflineLicense) -> None:
    tamper("file", bytes(issued.file).replace(b"}", b" }"))

    assert {
        "its file is not the one that the audit row tells of: changed",
        "its file does not match its digest: changed",
    } <= found()


def test_a_changed_file_with_a_digest_made_to_match_is_found(issued: OfflineLicense) -> None:
    changed = bytes(issued.file) + b"\n"
    tamper("file", changed)
    tamper("file_sha256", hashlib.sha256(changed).hexdigest())

    assert {"its file is not the one that the audit row tells of: changed"} <= found()


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("machine_id", "mid1other", "its machine ID differs from what its file says: changed"),
        ("user", "eve@example.com", "its user differs from what its file says: changed"),
        ("expires_at", shop.END.replace(year=2030), "its expiry differs from what its file says: changed"),
        ("product", "KRE", "its product differs from what its file says: changed"),
        ("sessions", 2, "its number of sessions differs from what its file says: changed"),
        ("issued_at", shop.START, "its time of issue differs from what its file says: changed"),
    ],
)
def test_a_changed_column_is_found_by_the_signed_file(
    issued: OfflineLicense, column: str, value: object, what: str
) -> None:
    tamper(column, value)

    assert what in found()


@pytest.mark.parametrize("change", ["file = 'text'", "license_id = 'zz'", "pool_id = 'zz'", "expires_at = x'00'"])
@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)  # typed columns take no such value
def test_a_licence_spoilt_with_a_value_of_the_wrong_kind_is_found(
    ledger: Ledger, issued: OfflineLicense, change: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute(f"UPDATE ledger_offlinelicense SET {change}")  # noqa: S608 - our own list

    assert verify().findings[0].place.startswith("licence ")


def test_a_removed_licence_is_found(issued: OfflineLicense) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_offlinelicense")

    places = [finding.place for finding in verify().findings]
    assert [f"licence {issued.license_id}", f"allocation {issued.allocation_id}"] == places


def test_a_licence_that_no_row_issued_is_found(issued: OfflineLicense) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_auditevent SET action = 'tested' WHERE action = 'offline.issued'")

    assert {"no audit row issued it: inserted"} == found()


def test_a_seat_freed_before_its_licence_expired_is_found_by_the_counter(issued: OfflineLicense) -> None:
    Allocation.objects.filter(pk=issued.allocation_id).update(
        expires_at=shop.NOW, released_at=shop.NOW, ending="expired"
    )

    assert {"its seat is not the one that it was issued for: changed"} == found()


def test_a_licence_is_neither_saved_again_nor_deleted(issued: OfflineLicense) -> None:
    with pytest.raises(AppendOnlyError):
        issued.save()
    with pytest.raises(AppendOnlyError):
        issued.delete()
