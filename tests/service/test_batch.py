"""Batches through the service: all or none, keep going, again and again, and the report."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import Allocation, AuditEvent, OfflineLicense, Pool
from keyseat_issuer.ledger.offline.batch import REPORT_COLUMNS, BatchResult, report_text, run_batch
from keyseat_issuer.ledger.offline.batch_csv import read_rows
from keyseat_issuer.ledger.offline.files import check_destination
from keyseat_issuer.ledger.offline.values import Status
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_verifier.verify.verifier import Verifier
from offline_shop import ADA, BOB, LAST_SECOND, NAME, SUNSET, VENDOR, numbered_machine, terms

ROW = dict[str, object]


def table(*rows: ROW) -> bytes:
    """Write rows as CSV; ``machine`` is a number of a machine."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["organization", "product", "machine_id", "user", "expires", "sessions"])
    for row in rows:
        machine = row.get("machine", 1)
        writer.writerow(
            [
                row.get("organization", NAME),
                row.get("product", "KSE"),
                numbered_machine(machine) if isinstance(machine, int) else machine,
                row.get("user", ADA if row.get("product", "KSE") == "KSE" else ""),
                row.get("expires", ""),
                row.get("sessions", ""),
            ]
        )
    return text.getvalue().encode()


def batch(
    data: bytes, out: Path | None = None, now: datetime = shop.NOW, *, keep_going: bool = False, dry_run: bool = False
) -> BatchResult:
    """Run a batch."""
    rows, bad = read_rows(data)
    destination = None if out is None else check_destination(out, must_be_folder=True)
    return run_batch(rows, bad, terms(now), destination, keep_going=keep_going, dry_run=dry_run)


def told(result: BatchResult) -> list[tuple[int, str, str]]:
    """Return line, status and code of each row."""
    return [(row.line, str(row.status), str(row.code)) for row in result.rows]


GOOD = table({"user": ADA}, {"user": BOB, "machine": 2}, {"product": "KRE", "machine": 3, "sessions": 2})
MIXED = table({"user": ADA}, {"user": "eve@example.com"}, {"organization": "Exampel"}, {"machine": "mid1nonsense"})


def test_every_row_becomes_a_licence_and_a_file_that_verifies(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()

    result = batch(GOOD, tmp_path / "out")

    assert [(2, "issued", "OK"), (3, "issued", "OK"), (4, "issued", "OK")] == told(result)
    verifier = Verifier(VENDOR.bundle)
    for row, number in zip(result.rows, (1, 2, 3), strict=True):
        data = Path(row.file or "").read_bytes()
        assert row.license_id == verifier.verify(data, machine=numbered_machine(number), now=shop.NOW).license_id
    assert 3 == len(list((tmp_path / "out").iterdir()))
    assert {"KSE": 2, "KRE": 2} == dict(Pool.objects.values_list("product", "used"))
    assert () == verify().findings


def test_a_second_run_issues_nothing_and_hands_the_same_files_out(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()
    first = batch(GOOD, tmp_path / "one")

    second = batch(GOOD, tmp_path / "two", shop.NOW + timedelta(days=1))

    assert {Status.ALREADY_ISSUED} == {row.status for row in second.rows}
    assert [row.license_id for row in first.rows] == [row.license_id for row in second.rows]
    for name in ("one", "two"):
        assert {bytes(row.file) for row in OfflineLicense.objects.all()} == {
            path.read_bytes() for path in (tmp_path / name).iterdir()
        }
    assert 3 == AuditEvent.objects.filter(action="offline.exported").count()


def test_even_after_the_sunset_what_was_issued_before_is_handed_out_again(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()
    batch(GOOD, now=LAST_SECOND)

    result = batch(GOOD, tmp_path / "out", SUNSET)

    assert 3 == result.count(Status.ALREADY_ISSUED)
    assert 3 == len(list((tmp_path / "out").iterdir()))


def test_after_its_end_a_row_is_issued_again(ledger: Ledger) -> None:
    offline_shop.customer()
    row = table({"expires": "2023-08-31"})
    batch(row)

    # Its date has passed; a row without one goes on to the end of the subscription.
    assert [(2, "refused", "EXPIRY_IN_PAST")] == told(batch(row, now=datetime(2023, 9, 1, tzinfo=UTC)))
    assert 1 == batch(table({}), now=datetime(2023, 9, 1, tzinfo=UTC)).count(Status.ISSUED)


def test_equal_floating_rows_mean_so_many_licences(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer(kre=5)
    row: ROW = {"product": "KRE"}

    batch(table(row, row), tmp_path / "out")
    result = batch(table(row, row, row), tmp_path / "out")

    assert ["already issued", "already issued", "issued"] == [str(found.status) for found in result.rows]
    assert 3 == len(list((tmp_path / "out").iterdir()))
    assert 3 == Pool.objects.get(product="KRE").used


def test_equal_named_rows_are_refused(ledger: Ledger) -> None:
    offline_shop.customer()

    result = batch(table({}, {}))

    assert [(2, "not issued", "OK"), (3, "refused", "ALREADY_BOUND")] == told(result)
    assert "asked for twice" in result.rows[1].message


def test_one_refused_row_stops_all_and_every_refusal_is_told_and_recorded(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()

    result = batch(MIXED, tmp_path / "out")

    assert [
        (2, "not issued", "OK"),
        (3, "refused", "NOT_A_MEMBER"),
        (4, "refused", "NOT_FOUND"),
        (5, "refused", "MALFORMED"),
    ] == told(result)
    assert (0, 0) == (OfflineLicense.objects.count(), Pool.objects.get(product="KSE").used)
    assert [] == list((tmp_path / "out").iterdir())
    assert 3 == AuditEvent.objects.filter(action="offline.issue.refused").count()


def test_keep_going_issues_the_others(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()

    result = batch(MIXED, tmp_path / "out", keep_going=True)

    assert ["issued", "refused", "refused", "refused"] == [str(row.status) for row in result.rows]
    assert (1, 1) == (OfflineLicense.objects.count(), len(list((tmp_path / "out").iterdir())))
    assert 3 == AuditEvent.objects.filter(action="offline.issue.refused").count()
    assert () == verify().findings


def test_a_line_that_cannot_be_read_stops_all_unless_told_to_keep_going(ledger: Ledger) -> None:
    offline_shop.customer()
    data = table({}, {"expires": "tomorrow"}, {"user": BOB, "machine": 2})

    assert ["not issued", "refused", "not issued"] == [str(row.status) for row in batch(data).rows]
    assert 0 == OfflineLicense.objects.count()
    assert ["issued", "refused", "issued"] == [str(row.status) for row in batch(data, keep_going=True).rows]


def test_the_quota_counts_within_the_batch(ledger: Ledger) -> None:
    offline_shop.customer(kre=2)
    rows = [{"product": "KRE", "machine": number} for number in range(3)]

    assert [(2, "not issued", "OK"), (3, "not issued", "OK"), (4, "refused", "QUOTA_EXCEEDED")] == told(
        batch(table(*rows))
    )
    assert ["issued", "issued", "refused"] == [str(row.status) for row in batch(table(*rows), keep_going=True).rows]
    assert 2 == Pool.objects.get(product="KRE").used


def test_assigned_seats_are_converted(ledger: Ledger) -> None:
    customer = offline_shop.customer(kse=2)
    shop.assign(customer, "KSE", ADA, BOB)

    result = batch(table({"user": ADA}, {"user": BOB, "machine": 2}))

    assert 2 == result.count(Status.ISSUED)
    assert 2 == Pool.objects.get(product="KSE").used
    assert 0 == Allocation.objects.filter(kind="named", released_at__isnull=True).count()
    assert () == verify().findings


def test_seats_that_have_expired_are_used_again(ledger: Ledger) -> None:
    offline_shop.customer(kre=1)
    offline_shop.issue("KRE", expires_at=datetime(2023, 7, 1, tzinfo=UTC))

    assert 1 == batch(table({"product": "KRE", "machine": 9}), now=datetime(2023, 7, 1, tzinfo=UTC)).count(
        Status.ISSUED
    )


def test_a_dry_run_says_what_would_happen_and_changes_nothing(ledger: Ledger) -> None:
    offline_shop.customer(kse=5)
    before = AuditEvent.objects.count()

    result = batch(GOOD, dry_run=True)

    assert 3 == result.count(Status.NOT_ISSUED)
    assert [("KSE", 2, 5, 0, 2), ("KRE", 1, 3, 0, 2)] == [
        (t.product, t.licenses, t.quota, t.used_before, t.used_after) for t in result.totals
    ]
    assert {"strong": 3} == result.grades
    assert (before, 0) == (AuditEvent.objects.count(), OfflineLicense.objects.count())


def test_after_the_sunset_every_row_is_refused(ledger: Ledger) -> None:
    offline_shop.customer()

    assert {"ISSUED_AFTER_SUNSET"} == {str(row.code) for row in batch(GOOD, now=SUNSET).rows}


def test_a_clock_set_back_stops_the_batch(ledger: Ledger) -> None:
    offline_shop.customer()
    batch(table({}), now=SUNSET + timedelta(hours=1))

    with pytest.raises(KeyseatError) as caught:
        batch(GOOD, now=LAST_SECOND)

    assert ReasonCode.CLOCK_ROLLED_BACK == caught.value.code
    assert "offline.issue.refused" == AuditEvent.objects.latest("seq").action


def test_files_that_cannot_be_written_do_not_hide_that_the_licences_exist(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()
    rows, bad = read_rows(GOOD)
    destination = check_destination(tmp_path / "out", must_be_folder=True)
    (tmp_path / "out").rmdir()

    result = run_batch(rows, bad, terms(), destination)
    again = batch(GOOD, tmp_path / "elsewhere")

    assert result.not_written is not None
    assert ReasonCode.UNREADABLE == result.not_written.code
    assert "3 licences are issued, but only 0 files were written" in result.not_written.message
    assert 3 == again.count(Status.ALREADY_ISSUED) == len(list((tmp_path / "elsewhere").iterdir()))


def test_the_report_has_a_line_for_each_row(ledger: Ledger) -> None:
    offline_shop.customer()
    result = batch(MIXED, keep_going=True)

    lines = list(csv.DictReader(io.StringIO(report_text(result, as_json=False))))
    answer = json.loads(report_text(result, as_json=True))

    assert list(REPORT_COLUMNS) == list(lines[0])
    assert ["2", "3", "4", "5"] == [line["line"] for line in lines]
    assert (1, 3) == (answer["issued"], answer["refused"])
    assert result.rows[0].license_id == answer["rows"][0]["license_id"] == lines[0]["license_id"]


def test_a_report_never_holds_a_formula(ledger: Ledger) -> None:
    offline_shop.customer()
    result = batch(table({"organization": "=1+1"}))
    [line] = csv.DictReader(io.StringIO(report_text(result, as_json=False)))

    assert not line["message"].startswith(("=", "+", "-", "@"))
