from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

import shop
from databases import Ledger
from keyseat_issuer.checks.check import Finding, verify
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import organizations
from keyseat_issuer.ledger.models import AuditEvent, AuditHead, Pool, Subscription
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, KeyseatError


def sql(statement: str, *values: object) -> None:
    """Change the database behind the ledger's back."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def places() -> list[str]:
    """Return where the check finds something."""
    return [finding.place for finding in verify().findings]


@pytest.fixture
def five_rows(ledger: Ledger) -> Ledger:
    """A ledger with five audit rows."""
    for number in range(1, 6):
        organizations.add_organization(f"Organisation {number}", actor=shop.ACTOR, now=shop.NOW)
    return ledger


class TestAppending:
    def test_an_untouched_ledger_agrees_with_itself(self, five_rows: Ledger) -> None:
        report = verify()

        assert (5, 0, 0, ()) == (report.events, report.licenses, report.pools, report.findings)

    def test_each_row_names_the_digest_of_the_row_before_it(self, five_rows: Ledger) -> None:
        rows = list(AuditEvent.objects.order_by("seq"))

        assert ["0" * 64, *[row.digest for row in rows[:-1]]] == [row.previous for row in rows]

    def test_a_thousand_rows_are_appended_with_a_few_statements(self, ledger: Ledger) -> None:
        events = [log.NewEvent("tested", f"{number}", {"number": number}) for number in range(1000)]
        connection.force_debug_cursor = True
        connection.queries_log.clear()

        with transaction.atomic():
            log.append_many(events, actor=shop.ACTOR, now=shop.NOW)

        statements = [entry["sql"] for entry in connection.queries_log]
        connection.force_debug_cursor = False
        assert len(statements) < 20
        assert (1000, ()) == (verify().events, verify().findings)

    def test_an_act_that_is_rolled_back_leaves_no_row_but_its_refusal(self, ledger: Ledger) -> None:
        organizations.add_organization("Twice", actor=shop.ACTOR, now=shop.NOW)

        with pytest.raises(KeyseatError):
            organizations.add_organization("twice", actor=shop.ACTOR, now=shop.NOW)

        rows = AuditEvent.objects.order_by("seq").values_list("action", "subject")
        assert [("organization.added", "Twice"), ("organization.added.refused", "twice")] == list(rows)

    def test_appending_outside_of_a_transaction_is_a_programming_error(self, ledger: Ledger) -> None:
        with pytest.raises(RuntimeError, match="in the transaction of the act"):
            log.append_many([], actor=shop.ACTOR, now=shop.NOW)

    def test_unprintable_characters_of_a_subject_are_not_stored(self, ledger: Ledger) -> None:
        with transaction.atomic():
            row = log.append(
                actor="a\nb",
                action="tested",
                organization=None,
                subject="\x1b[31m\x00\ud800",
                details={},
                now=shop.NOW,
            )

        assert ("a?b", "?[31m??") == (row.actor, row.subject)


class TestTimeMovesForwardOnly:
    def test_an_act_dated_more_than_five_minutes_before_the_newest_row_is_refused(self, five_rows: Ledger) -> None:
        with pytest.raises(ClockError) as refused:
            organizations.add_organization("Late", actor=shop.ACTOR, now=shop.NOW - timedelta(seconds=301))

        assert ReasonCode.CLOCK_ROLLED_BACK is refused.value.code
        assert "2023-06-01T12:00:00Z" == refused.value.details["at"]

    def test_the_refusal_is_recorded_at_the_ledgers_time(self, five_rows: Ledger) -> None:
        with pytest.raises(ClockError):
            organizations.add_organization("Late", actor=shop.ACTOR, now=shop.NOW - timedelta(days=200))

        newest = AuditEvent.objects.order_by("-seq")[0]
        assert ("organization.added.refused", shop.NOW) == (newest.action, newest.at)
        assert () == verify().findings

    def test_within_five_minutes_the_act_takes_place_at_the_newest_rows_instant(self, five_rows: Ledger) -> None:
        added = organizations.add_organization("Late", actor=shop.ACTOR, now=shop.NOW - timedelta(seconds=300))

        assert shop.NOW == added.created_at

    def test_an_act_that_another_process_overtook_by_more_is_refused_at_its_end(self, five_rows: Ledger) -> None:
        with pytest.raises(ClockError), transaction.atomic():
            log.append_many([], actor=shop.ACTOR, now=shop.NOW - timedelta(seconds=301))

    def test_a_new_ledger_takes_any_instant(self, ledger: Ledger) -> None:
        early = datetime(1999, 1, 1, tzinfo=UTC)

        assert early == log.ledger_now(early)


class TestTampering:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("actor", "somebody else"),
            ("action", "organization.removed"),
            ("subject", "another"),
            ("details", '{"code":"OK"}'),
            ("at", datetime(2023, 6, 1, 12, 0, 1, tzinfo=UTC)),
            ("organization_id", None),
            ("previous", "1" * 64),
        ],
    )
    def test_a_changed_column_is_found_at_its_row(self, five_rows: Ledger, column: str, value: object) -> None:
        # Through the model's field, for each database's own form of the value.
        written = AuditEvent._meta.get_field(column.removesuffix("_id")).get_db_prep_save(value, connection)
        sql(f"UPDATE ledger_auditevent SET {column} = %s WHERE seq = 3", written)  # noqa: S608 - our own list

        assert "audit row 3" == places()[0]
        assert "changed" in verify().findings[0].what

    @pytest.mark.parametrize(
        "change",
        [
            "at = 'garbage'",
            "organization_id = 'zz'",
            "details = x'ff'",
            "subject = CAST(x'ff' AS TEXT)",
            "digest = x'00'",
            "digest = 'ü'",
        ],
    )
    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)  # typed columns take no such value
    def test_a_row_spoilt_with_a_value_of_the_wrong_kind_is_named_all_the_same(
        self, five_rows: Ledger, change: str
    ) -> None:
        sql("PRAGMA foreign_keys = OFF")
        sql(f"UPDATE ledger_auditevent SET {change} WHERE seq = 3")  # noqa: S608 - our own list

        assert "audit row 3" == places()[0]
        assert "changed" in verify().findings[0].what
        assert 5 == verify().events

    def test_a_head_dated_back_is_found(self, five_rows: Ledger) -> None:
        # Whoever does that could set the clock back as well, and date licences back.
        AuditHead.objects.update(at=shop.NOW - timedelta(days=1))

        assert (Finding("audit head", "it is dated otherwise than the newest row: changed"),) == verify().findings

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)  # typed columns take no such value
    def test_a_head_spoilt_with_a_value_of_the_wrong_kind_is_found(self, five_rows: Ledger) -> None:
        for change in ("at = 'garbage'", "seq = 'x'"):
            sql(f"UPDATE ledger_audithead SET {change}")  # noqa: S608 - our own list
            assert ["audit head"] == places()

    @pytest.mark.parametrize(
        "change",
        [
            "ledger_subscription SET term = 'trial'",
            "ledger_subscription SET ends_at = '2029-06-01 00:00:00+00:00'",
            "ledger_pool SET quota = 1000",
            "ledger_subscription SET organization_id = (SELECT id FROM ledger_organization WHERE name = 'Another')",
        ],
    )
    def test_a_subscription_that_was_changed_is_found(self, ledger: Ledger, change: str) -> None:
        shop.organization("Another")
        pool = shop.subscribe(shop.organization(), {"KSE": 3, "KRE": 1})["KSE"]
        assert [] == places()
        sql(f"UPDATE {change}")

        (finding,) = verify().findings
        assert f"subscription {pool.subscription_id}" == finding.place
        assert "changed" in finding.what

    def test_a_subscription_that_no_row_added_is_found_and_one_that_was_removed(self, ledger: Ledger) -> None:
        customer = shop.organization()
        pool = shop.subscribe(customer, {"KSE": 3})["KSE"]
        inserted = Subscription.objects.create(
            id=new_id(shop.NOW),
            organization=customer,
            term="annual",
            starts_at=shop.START,
            ends_at=shop.END,
            created_at=shop.NOW,
        )
        Pool.objects.filter(pk=pool.pk).delete()
        Subscription.objects.filter(pk=pool.subscription_id).delete()

        assert {f"subscription {inserted.pk}", f"subscription {pool.subscription_id}"} == set(places())

    def test_a_changed_row_with_a_digest_made_to_match_is_found_at_the_next(self, five_rows: Ledger) -> None:
        row = AuditEvent.objects.get(seq=3)
        row.actor = "somebody else"
        sql("UPDATE ledger_auditevent SET actor = %s, digest = %s WHERE seq = 3", row.actor, log.row_digest(row))

        assert ["audit row 4"] == places()

    def test_a_removed_row_is_found(self, five_rows: Ledger) -> None:
        sql("DELETE FROM ledger_auditevent WHERE seq = 3")

        assert Finding("audit row 4", "row 3 is missing before it: removed") == verify().findings[0]

    def test_rows_removed_at_the_end_are_found(self, five_rows: Ledger) -> None:
        sql("DELETE FROM ledger_auditevent WHERE seq >= 4")

        first, *others = verify().findings
        assert Finding("audit row 4", "the log ends before it, but its head is row 5: removed") == first
        assert {"no audit row added it: inserted"} == {finding.what for finding in others}

    def test_rows_that_changed_places_are_found_at_both(self, five_rows: Ledger) -> None:
        for old, new in ((2, 100), (4, 2), (100, 4)):
            sql("UPDATE ledger_auditevent SET seq = %s WHERE seq = %s", new, old)

        assert {"audit row 2", "audit row 4"} <= set(places())

    def test_a_row_added_behind_the_heads_back_is_found(self, five_rows: Ledger) -> None:
        last = AuditEvent.objects.get(seq=5)
        row = AuditEvent(
            seq=6,
            at=last.at,
            actor="intruder",
            action="tested",
            subject="x",
            details="{}",
            previous=last.digest,
        )
        row.digest = log.row_digest(row)
        row.save()

        assert ["audit row 6"] == places()

    def test_a_chain_rewritten_with_its_head_is_found_by_an_anchor_noted_elsewhere(self, five_rows: Ledger) -> None:
        anchor = verify().anchor
        digest = "0" * 64
        for row in AuditEvent.objects.order_by("seq"):
            row.actor, row.previous = "somebody else", digest
            digest = log.row_digest(row)
            sql(
                "UPDATE ledger_auditevent SET actor = %s, previous = %s, digest = %s WHERE seq = %s",
                row.actor,
                row.previous,
                digest,
                row.seq,
            )
        AuditHead.objects.update(digest=digest)

        assert [] == places()
        assert ("audit row 5",) == tuple(finding.place for finding in verify(anchor).findings)

    def test_an_anchor_beyond_the_end_is_found(self, five_rows: Ledger) -> None:
        assert ("audit row 9",) == tuple(finding.place for finding in verify(f"9:{'0' * 64}").findings)

    def test_a_head_that_was_removed_is_found(self, five_rows: Ledger) -> None:
        AuditHead.objects.all().delete()

        assert ["audit head"] == places()

    def test_a_pools_counter_that_was_changed_is_found(self, ledger: Ledger) -> None:
        customer = shop.organization()
        pool = shop.subscribe(customer, {"KSE": 3})["KSE"]
        shop.assign(customer, "KSE", "owner@example.com")
        Pool.objects.filter(pk=pool.pk).update(used=0)

        (finding,) = verify().findings
        assert f"pool {pool.pk} (KSE)" == finding.place
        assert "it counts 0 used and 0 assigned, but 1 and 0 are held" == finding.what

    def test_an_issue_row_without_its_licence_is_found(self, ledger: Ledger) -> None:
        with transaction.atomic():
            log.append(
                actor=shop.ACTOR,
                action=log.OFFLINE_ISSUED,
                organization=None,
                subject="0189a000-0000-7000-8000-000000000001",
                details={log.FILE_DIGEST: "0" * 64},
                now=shop.NOW,
            )

        assert ["licence 0189a000-0000-7000-8000-000000000001"] == places()

    @pytest.mark.parametrize("anchor", ["", "5", "x:y", "5:abc", "5:" + "A" * 64])
    def test_an_anchor_that_is_none_is_refused(self, ledger: Ledger, anchor: str) -> None:
        with pytest.raises(KeyseatError) as refused:
            verify(anchor)

        assert ReasonCode.INVALID_INPUT is refused.value.code
