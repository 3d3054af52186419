"""Verifying leases: what passes, and every way in which a lease does not count."""

from datetime import UTC, datetime, timedelta

import pytest

from keyseat_shared.envelope import LICENSE_TYPE, TRUST_TYPE, Envelope
from keyseat_shared.errors import RuleError, VerificationError
from keyseat_shared.machine_id import MachineID
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import COMPROMISED, LEASE
from keyseat_verifier.client.clock import ClockGuard
from keyseat_verifier.verify.lease import SEAT_UNTIL, STEPS, verify_lease
from keyseat_verifier.verify.verified import VerifiedLease
from keyseat_verifier.verify.verifier import Verifier
from vendor import MACHINE, NOW, OTHER_MACHINE, OTHER_USER, Key, Vendor, machine

VENDOR = Vendor()
ISSUED = NOW
EXPIRES = NOW + timedelta(hours=1)
BEFORE_THE_KEY = {
    "issued_at": "2022-12-31T23:59:59Z",
    "renew_after": "2023-01-01T00:00:00Z",
    "expires_at": "2023-01-01T00:59:59Z",
}
SESSION = "01890006-0000-7000-8000-000000000001"


def verify(
    data: bytes,
    *,
    now: datetime = NOW,
    on: MachineID = MACHINE,
    product: str | None = "KRE",
    vendor: Vendor = VENDOR,
    **answer: str,
) -> VerifiedLease:
    return verify_lease(Verifier(vendor.bundle, product), data, machine=on, now=now, **answer)


def refused(data: bytes, **options: object) -> tuple[str, str]:
    with pytest.raises(VerificationError) as caught:
        verify(data, **options)  # type: ignore[arg-type]
    return caught.value.step, str(caught.value.code)


class TestALease:
    def test_counts_for_its_machine_session_and_time(self) -> None:
        lease = verify(VENDOR.lease(), nonce="n0nce", session_id=SESSION)
        assert (SESSION, "KRE", "Example Organisation", None, str(MACHINE)) == (
            lease.session_id,
            lease.product,
            lease.organization_name,
            lease.user,
            lease.machine_id,
        )
        assert (ISSUED, NOW + timedelta(minutes=20), EXPIRES) == (lease.issued_at, lease.renew_after, lease.expires_at)
        assert f"<VerifiedLease KRE {SESSION} until 2023-12-01T13:00:00Z>" == repr(lease)

    def test_of_a_user_counts(self) -> None:
        assert "ada@example.com" == verify(VENDOR.lease(product="KSE", user="ada@example.com"), product="KSE").user

    def test_counts_after_a_disk_was_replaced(self) -> None:
        assert verify(VENDOR.lease(), on=machine(disk=["NEW"])).product == "KRE"

    @pytest.mark.parametrize(
        ("seconds", "counts"), [(-301, False), (-300, True), (0, True), (3599, True), (3600, False), (10**6, False)]
    )
    def test_counts_from_five_minutes_before_its_issue_to_its_end(self, seconds: int, *, counts: bool) -> None:
        now = NOW + timedelta(seconds=seconds)
        if counts:
            assert EXPIRES == verify(VENDOR.lease(), now=now).expires_at
        else:
            expected = ("clock", "CLOCK_ROLLED_BACK") if seconds < 0 else ("expiry", "EXPIRED")
            assert expected == refused(VENDOR.lease(), now=now)

    def test_signed_with_two_algorithms_counts_where_both_are_required(self) -> None:
        hybrid = Vendor(hybrid=True)
        assert ("signature", "MISSING_SIGNATURE") == refused(hybrid.lease(), vendor=hybrid)


class TestALeaseIsRefused:
    @pytest.mark.parametrize(
        ("data", "step", "code"),
        [
            (b"", "envelope", "MALFORMED"),
            (b"x" * 100_000, "envelope", "MALFORMED"),
            (VENDOR.lease()[:-40], "envelope", "MALFORMED"),
            (Vendor(name="other").lease(), "signature", "UNKNOWN_KEY"),
            (VENDOR.license(product="KRE"), "format", "UNSUPPORTED_FORMAT"),
            (VENDOR.test_license(), "format", "UNSUPPORTED_FORMAT"),
            (VENDOR.signed({"format": 1}, VENDOR.lease_key, payload_type=TRUST_TYPE), "format", "UNSUPPORTED_FORMAT"),
            (VENDOR.lease(format=2), "format", "UNSUPPORTED_FORMAT"),
            (VENDOR.lease(nonce=7), "format", "MALFORMED"),
            (VENDOR.lease(expires_at="2023-12-01T12:10:00Z"), "format", "MALFORMED"),
            (VENDOR.lease(VENDOR.key), "key", "KEY_NOT_VALID"),
            (VENDOR.lease(**BEFORE_THE_KEY), "key", "KEY_NOT_VALID"),
            (VENDOR.lease(product="KSE", user="ada@example.com"), "product", "WRONG_PRODUCT"),
            (VENDOR.lease(product="XYZ"), "product", "WRONG_PRODUCT"),
            (VENDOR.lease(machine_id=str(OTHER_MACHINE)), "machine", "MACHINE_MISMATCH"),
            (VENDOR.lease(machine_id=str(OTHER_USER)), "machine", "USER_MISMATCH"),
            (VENDOR.lease(machine_id="mid1nonsense"), "machine", "MALFORMED"),
        ],
    )
    def test_for_what_it_is(self, data: bytes, step: str, code: str) -> None:
        assert (step, code) == refused(data)

    def test_for_a_named_product_without_a_user(self) -> None:
        assert ("product", "MALFORMED") == refused(VENDOR.lease(product="KSE"), product="KSE")

    def test_where_it_repeats_another_nonce(self) -> None:
        assert ("answer", "BAD_SIGNATURE") == refused(VENDOR.lease(), nonce="another")

    def test_where_it_is_for_another_session(self) -> None:
        assert ("answer", "BAD_SIGNATURE") == refused(VENDOR.lease(), session_id=SESSION[:-1] + "2")

    def test_where_its_key_was_revoked(self) -> None:
        bundle = VENDOR.bundle_with(VENDOR.trusted(VENDOR.lease_key, LEASE, status=COMPROMISED))
        with pytest.raises(VerificationError, match="KEY_COMPROMISED"):
            verify_lease(Verifier(bundle), VENDOR.lease(), machine=MACHINE, now=NOW)

    def test_where_it_was_changed_after_signing(self) -> None:
        envelope = Envelope.from_bytes(VENDOR.lease())
        later = envelope.payload.replace(b"2023-12-01T13:00:00Z", b"2033-12-01T13:00:00Z")
        assert ("signature", "BAD_SIGNATURE") == refused(envelope._replace(payload=later).to_bytes())
        as_license = envelope._replace(payload_type=LICENSE_TYPE).to_bytes()
        assert ("signature", "BAD_SIGNATURE") == refused(as_license)

    def test_where_it_was_signed_by_a_key_nobody_trusts(self) -> None:
        assert ("signature", "UNKNOWN_KEY") == refused(VENDOR.lease(Key("a thief's key")))

    def test_as_a_licence(self) -> None:
        with pytest.raises(VerificationError, match="a lease is not a licence"):
            Verifier(VENDOR.bundle).verify(VENDOR.lease(), machine=MACHINE, now=NOW)


def bounded(**lengths: int) -> Vendor:
    """Return a vendor whose policy has other lease lengths; ``lease_ttl`` and ``lease_renew_after`` in seconds."""
    return Vendor(policy=default_policy()._replace(**lengths))


class TestTheLongestLife:
    """What the hot key signs counts no longer than the policy lets an honest server sign it for."""

    @pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "2126-12-01T12:00:00Z", "2024-02-29T12:00:01Z"])
    def test_no_lease_is_for_longer_than_90_days(self, end: str) -> None:
        assert ("format", "MALFORMED") == refused(VENDOR.lease(expires_at=end))

    def test_it_ends_by_the_policy_whatever_was_signed(self) -> None:
        long = VENDOR.lease(expires_at="2024-02-29T12:00:00Z")

        assert EXPIRES == verify(long).expires_at
        assert EXPIRES == verify(long, now=EXPIRES - timedelta(seconds=1)).expires_at
        assert ("expiry", "EXPIRED") == refused(long, now=EXPIRES)

    def test_it_is_renewed_by_the_policy_whatever_was_signed(self) -> None:
        late = VENDOR.lease(renew_after="2023-12-01T13:00:00Z")
        assert NOW + timedelta(seconds=1200) == verify(late).renew_after

    def test_a_shorter_one_is_left_as_it_is(self) -> None:
        short = VENDOR.lease(renew_after="2023-12-01T12:01:00Z", expires_at="2023-12-01T12:02:00Z")
        found = verify(short)
        assert (NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)) == (found.renew_after, found.expires_at)

    def test_after_the_policy_was_made_shorter_it_ends_sooner_and_its_seat_does_not(self) -> None:
        vendor = bounded(lease_ttl=600, lease_renew_after=200)
        assert NOW + timedelta(seconds=600) == verify(vendor.lease(), vendor=vendor).expires_at

        with pytest.raises(RuleError, match="EXPIRED") as caught:
            verify(vendor.lease(), vendor=vendor, now=NOW + timedelta(seconds=600))

        assert "2023-12-01T13:00:00Z" == caught.value.details[SEAT_UNTIL]
        verifier = Verifier(vendor.bundle, "KRE")
        kept = verify_lease(verifier, vendor.lease(), machine=MACHINE, now=NOW + timedelta(minutes=59), as_signed=True)
        assert EXPIRES == kept.expires_at
        with pytest.raises(RuleError) as caught:
            verify_lease(verifier, vendor.lease(), machine=MACHINE, now=EXPIRES)
        assert SEAT_UNTIL not in caught.value.details

    def test_a_server_with_a_longer_policy_is_honest(self) -> None:
        server = bounded(lease_ttl=7200, lease_renew_after=2400)
        lease = server.lease(renew_after="2023-12-01T12:40:00Z", expires_at="2023-12-01T14:00:00Z")
        found = verify(lease)  # by a client whose bundle says an hour
        assert (NOW + timedelta(seconds=1200), EXPIRES) == (found.renew_after, found.expires_at)

    def test_one_signed_in_the_last_second_of_its_key_lasts_no_longer_than_that_and_the_policys_length(self) -> None:
        times = {
            "issued_at": "2027-12-31T23:59:59Z",
            "renew_after": "2027-12-31T23:59:59Z",
            "expires_at": "2028-03-30T00:00:00Z",
        }
        last = datetime(2028, 1, 1, 0, 59, 58, tzinfo=UTC)
        assert last + timedelta(seconds=1) == verify(VENDOR.lease(**times), now=last).expires_at
        assert ("expiry", "EXPIRED") == refused(VENDOR.lease(**times), now=last + timedelta(seconds=1))

    def test_one_dated_ahead_does_not_count_yet(self) -> None:
        """A thief can sign one for each hour of the key's window, but none counts before its hour."""
        times = {
            "issued_at": "2023-12-01T12:05:01Z",
            "renew_after": "2023-12-01T12:05:01Z",
            "expires_at": "2023-12-01T13:05:01Z",
        }
        assert ("clock", "CLOCK_ROLLED_BACK") == refused(VENDOR.lease(**times))


class TestTheClock:
    def test_may_not_be_set_back_before_the_last_lease(self, tmp_path: object) -> None:
        guard = ClockGuard(str(tmp_path))
        behind = NOW - timedelta(minutes=4)
        verify_lease(Verifier(VENDOR.bundle, clock=guard), VENDOR.lease(), machine=MACHINE, now=behind)

        # The lease is gone; that the server had issued it at NOW is remembered.
        with pytest.raises(VerificationError, match="CLOCK_ROLLED_BACK"):
            ClockGuard(str(tmp_path)).check(NOW - timedelta(minutes=6), str(MACHINE))

    def test_may_not_be_before_the_trust_bundle(self) -> None:
        young = Vendor(issued_at=datetime(2023, 12, 2, tzinfo=UTC))
        assert ("clock", "CLOCK_ROLLED_BACK") == refused(young.lease(), vendor=young)


def test_the_payload_is_not_read_before_its_signature_holds() -> None:
    assert ["envelope", "signature", "format", "key"] == [name for name, _ in STEPS][:4]


@pytest.mark.long
def test_single_byte_changes_leave_the_content_or_are_refused() -> None:
    data = VENDOR.lease()
    before = Envelope.from_bytes(data)
    verifier = Verifier(VENDOR.bundle, "KRE")
    for place in range(len(data)):
        for value in (0x00, 0x20, 0x41, 0xFF, data[place] ^ 1):
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            try:
                verify_lease(verifier, changed, machine=MACHINE, now=NOW)
            except VerificationError:
                continue
            assert before.payload == Envelope.from_bytes(changed).payload
