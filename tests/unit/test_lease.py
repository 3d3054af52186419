"""Verifying leases: what passes, and every way in which a lease does not count."""

from datetime import UTC, datetime, timedelta

import pytest

from keyseat_shared.envelope import LICENSE_TYPE, TRUST_TYPE, Envelope
from keyseat_shared.errors import VerificationError
from keyseat_shared.machine_id import MachineID
from keyseat_shared.trust import COMPROMISED, LEASE
from keyseat_verifier.clock import ClockGuard
from keyseat_verifier.lease import STEPS, verify_lease
from keyseat_verifier.verified import VerifiedLease
from keyseat_verifier.verifier import Verifier
from vendor import MACHINE, NOW, OTHER_MACHINE, OTHER_USER, Key, Vendor, machine

VENDOR = Vendor()
ISSUED = NOW
EXPIRES = NOW + timedelta(hours=1)
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
            (VENDOR.lease(issued_at="2022-12-31T23:59:59Z"), "key", "KEY_NOT_VALID"),
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


def test_single_byte_changes_leave_the_content_or_are_refused() -> None:
    data = VENDOR.lease()
    before = Envelope.from_bytes(data)
    for place in range(len(data)):
        for value in (0x00, 0x20, 0x41, 0xFF, data[place] ^ 1):
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            try:
                verify(changed)
            except VerificationError:
                continue
            assert before.payload == Envelope.from_bytes(changed).payload
