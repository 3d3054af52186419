"""The verifier: every step, in order, refuses what it must, and nothing else."""

import copy
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from keyseat_shared.envelope import LICENSE_TYPE, TRUST_TYPE, Envelope, Signature
from keyseat_shared.errors import CouldNotVerifyError, TrustError, VerificationError
from keyseat_shared.keys import ML_DSA_65, PublicKey
from keyseat_shared.machine_id import MachineID
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import COMPROMISED, LEASE, RETIRED
from keyseat_verifier import ClockGuard, VerifiedLicense, Verifier
from keyseat_verifier.verify.lease import verify_lease
from keyseat_verifier.verify.verifier import STEPS
from vendor import EXPIRES, MACHINE, NOW, OTHER_MACHINE, OTHER_USER, Key, Vendor, envelope, machine

VENDOR = Vendor()
VERIFIER = Verifier(VENDOR.bundle)
SECOND = timedelta(seconds=1)


def refusal(
    data: bytes, *, verifier: Verifier = VERIFIER, at: datetime = NOW, on: MachineID | str = MACHINE
) -> tuple[str, str]:
    """Return step and code of the error that verification raises, or ("", "OK")."""
    try:
        verifier.verify(data, machine=on, now=at)
    except VerificationError as error:
        return error.step, str(error.code)
    return "", "OK"


class TestAValidLicence:
    def test_is_returned_with_its_signed_content(self) -> None:
        found = VERIFIER.verify(VENDOR.license(), machine=MACHINE, now=NOW)
        assert found.to_dict() == VENDOR.payload()
        assert found.signers == (VENDOR.key.public.keyid,)
        assert found.days_left(NOW) == 182

    def test_gives_every_field_by_name(self) -> None:
        found = VERIFIER.verify(VENDOR.license(features=["reports"]), machine=MACHINE, now=NOW)
        payload = VENDOR.payload()
        assert (found.license_id, found.product, found.user) == (payload["license_id"], "KSE", "ada@example.com")
        assert (found.organization_id, found.organization_name) == tuple(payload["organization"].values())
        assert (found.subscription_id, found.term) == (payload["subscription"]["id"], "annual")
        assert (found.starts_at, found.ends_at) == (datetime(2023, 6, 1, tzinfo=UTC), EXPIRES)
        assert (found.issued_at, found.expires_at) == (datetime(2023, 6, 1, tzinfo=UTC), EXPIRES)
        assert (found.machine_id, found.sessions, found.features) == (str(MACHINE), 1, ("reports",))
        assert found.policy == VENDOR.policy.digest()

    @pytest.mark.parametrize("form", [MACHINE, str(MACHINE), str(MACHINE).upper(), " ".join(str(MACHINE))])
    def test_fits_a_machine_in_any_form(self, form: object) -> None:
        assert refusal(VENDOR.license(), on=form) == ("", "OK")

    @pytest.mark.parametrize("form", [bytearray, memoryview])
    def test_may_be_any_kind_of_bytes(self, form: object) -> None:
        assert refusal(form(VENDOR.license())) == ("", "OK")

    def test_of_a_floating_product_has_sessions_and_no_user(self) -> None:
        found = VERIFIER.verify(VENDOR.license(product="KRE", sessions=7), machine=MACHINE, now=NOW)
        assert (found.user, found.sessions) == (None, 7)

    def test_survives_a_repaired_machine(self) -> None:
        assert refusal(VENDOR.license(), on=machine(nic=["001b21aabbcc"], disk=["NEW-DISK-1"])) == ("", "OK")

    def test_with_a_further_signature_by_a_stranger_still_counts(self) -> None:
        data = VENDOR.signed(VENDOR.payload(), VENDOR.key, Key("a stranger"))
        assert refusal(data) == ("", "OK")

    def test_signed_twice_by_its_key_counts_once(self) -> None:
        data = VENDOR.signed(VENDOR.payload(), VENDOR.key, VENDOR.key)
        assert VERIFIER.verify(data, machine=MACHINE, now=NOW).signers == (VENDOR.key.public.keyid,)


class TestVerifiedLicense:
    FOUND = VERIFIER.verify(VENDOR.license(), machine=MACHINE, now=NOW)

    def test_cannot_be_made_by_hand(self) -> None:
        with pytest.raises(TypeError, match="made by verification only"):
            VerifiedLicense(object(), None, ())

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            self.FOUND.product = "KRE"
        with pytest.raises(AttributeError):
            self.FOUND._payload = None
        with pytest.raises(AttributeError):
            del self.FOUND.signers

    def test_cannot_be_pickled(self) -> None:
        with pytest.raises(TypeError, match="verify it again"):
            pickle.dumps(self.FOUND)

    def test_copies_are_itself(self) -> None:
        assert copy.copy(self.FOUND) is self.FOUND
        assert copy.deepcopy(self.FOUND) is self.FOUND

    def test_repr_names_no_user_organisation_or_machine(self) -> None:
        assert repr(self.FOUND) == f"<VerifiedLicense KSE {self.FOUND.license_id} until 2024-06-01T00:00:00Z>"

    def test_equals_another_verification_of_the_same_file(self) -> None:
        again = VERIFIER.verify(VENDOR.license(), machine=MACHINE, now=NOW)
        assert (again, hash(again)) == (self.FOUND, hash(self.FOUND))
        assert self.FOUND != VENDOR.payload()

    @pytest.mark.parametrize(
        ("before", "days"), [(SECOND, 0), (timedelta(days=1), 1), (timedelta(days=30), 30), (-SECOND, 0)]
    )
    def test_days_left_are_whole_days(self, before: timedelta, days: int) -> None:
        assert self.FOUND.days_left(EXPIRES - before) == days


class TestEnvelopeAndSignature:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x00" * 100,
            b"{}",
            b"[]",
            b"null",
            VENDOR.license()[:-20],
            VENDOR.license() + b"{}",
            VENDOR.license() + b" " * 65_536,
            b"x" * 10_000_000,
            VENDOR.license().decode().encode("utf-16"),
            b"\xef\xbb\xbf" + VENDOR.license(),
            b"\x00" + VENDOR.license(),
            b"[" * 60_000,
            b'{"a":' * 10_000,
            VENDOR.license().replace(b'"payload":', b'"payload":"","payload":'),
            VENDOR.license().replace(b'"signatures":', b'"signature":'),
            VENDOR.license().replace(b'"signatures":[', b'"signatures":[NaN,'),
        ],
    )
    def test_refuses_what_is_no_licence_file(self, data: bytes) -> None:
        assert refusal(data) == ("envelope", "MALFORMED")

    def test_refuses_a_file_of_another_vendor(self) -> None:
        assert refusal(Vendor(name="other").license()) == ("signature", "UNKNOWN_KEY")

    def test_refuses_a_file_signed_by_the_root_key(self) -> None:
        assert refusal(VENDOR.signed(VENDOR.payload(), VENDOR.root)) == ("signature", "UNKNOWN_KEY")

    def test_refuses_a_stranger_who_uses_the_key_id(self) -> None:
        forger = Key("a stranger", keyid=VENDOR.key.public.keyid)
        assert refusal(VENDOR.signed(VENDOR.payload(), forger)) == ("signature", "BAD_SIGNATURE")

    def test_refuses_a_signature_for_another_payload_type(self) -> None:
        genuine = Envelope.from_bytes(VENDOR.test_license())
        moved = Envelope(LICENSE_TYPE, genuine.payload, genuine.signatures).to_bytes()
        assert refusal(moved) == ("signature", "BAD_SIGNATURE")

    def test_refuses_a_bad_signature_beside_a_good_one(self) -> None:
        genuine = Envelope.from_bytes(VENDOR.license())
        spoilt = Signature(VENDOR.lease_key.public.keyid, b"\0" * 64)
        data = Envelope(genuine.payload_type, genuine.payload, (*genuine.signatures, spoilt)).to_bytes()
        assert refusal(data) == ("signature", "BAD_SIGNATURE")

    @pytest.mark.parametrize("size", [0, 1, 63, 65, 3309])
    def test_refuses_signatures_of_another_size(self, size: int) -> None:
        genuine = Envelope.from_bytes(VENDOR.license())
        spoilt = (Signature(VENDOR.key.public.keyid, b"\x01" * size),)
        data = Envelope(genuine.payload_type, genuine.payload, spoilt).to_bytes()
        assert refusal(data)[1] == ("BAD_SIGNATURE" if size else "MALFORMED")

    def test_interprets_nothing_before_the_signature(self) -> None:
        spoilt = Envelope(LICENSE_TYPE, b"\xff not JSON", Envelope.from_bytes(VENDOR.license()).signatures).to_bytes()
        assert refusal(spoilt) == ("signature", "BAD_SIGNATURE")

    def test_could_not_verify_with_a_key_of_mixed_order(self) -> None:
        # A point of order 8 L: passes the cheap screen on entry, fails the whole check on first use.
        mixed = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
        torsion = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
        key = PublicKey("ed25519", _added(mixed, torsion), "mixed")
        trusted = VENDOR.trusted(VENDOR.key)._replace(key=key)
        data = Envelope(LICENSE_TYPE, b"{}", (Signature("mixed", b"\0" * 64),)).to_bytes()
        verifier = Verifier(VENDOR.bundle_with(trusted))
        with pytest.raises(CouldNotVerifyError) as caught:
            verifier.verify(data, machine=MACHINE, now=NOW)
        assert (caught.value.step, str(caught.value.code)) == ("signature", "TRUST_INVALID")


def _added(first: bytes, second: bytes) -> bytes:
    """Add two points of edwards25519 (RFC 8032, section 5.1.4, affine and slow)."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def decoded(encoded: bytes) -> tuple[int, int]:
        number = int.from_bytes(encoded, "little")
        y, sign = number & (1 << 255) - 1, number >> 255
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        if (x * x - square) % p:
            x = x * pow(2, (p - 1) // 4, p) % p
        assert (x * x - square) % p == 0
        return (p - x if x & 1 != sign else x), y

    (x1, y1), (x2, y2) = decoded(first), decoded(second)
    cross = d * x1 * x2 * y1 * y2 % p
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, -1, p) % p
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, -1, p) % p
    return (y | (x & 1) << 255).to_bytes(32, "little")


class TestHybridSignatures:
    HYBRID = Vendor(hybrid=True, name="hybrid")
    VERIFIER = Verifier(HYBRID.bundle)

    def test_both_signatures_are_accepted(self) -> None:
        data = self.HYBRID.license()
        found = self.VERIFIER.verify(data, machine=MACHINE, now=NOW)
        assert len(found.signers) == 2
        assert len(data) < 8192

    def test_one_of_two_is_not_enough(self) -> None:
        for key in self.HYBRID.signing_keys:
            data = self.HYBRID.signed(self.HYBRID.payload(), key)
            assert refusal(data, verifier=self.VERIFIER) == ("signature", "MISSING_SIGNATURE")

    def test_two_signatures_by_one_algorithm_are_not_enough(self) -> None:
        second = Key("hybrid second")
        bundle = self.HYBRID.bundle_with(*[self.HYBRID.trusted(k) for k in (*self.HYBRID.signing_keys, second)])
        data = self.HYBRID.signed(self.HYBRID.payload(), self.HYBRID.key, second)
        assert refusal(data, verifier=Verifier(bundle)) == ("signature", "MISSING_SIGNATURE")

    def test_a_lapsed_key_does_not_stand_in_for_its_algorithm(self) -> None:
        classic, quantum = self.HYBRID.signing_keys
        lapsed = self.HYBRID.trusted(quantum, valid_until=datetime(2023, 2, 1, tzinfo=UTC))
        bundle = self.HYBRID.bundle_with(self.HYBRID.trusted(classic), lapsed)
        assert refusal(self.HYBRID.license(), verifier=Verifier(bundle)) == ("key", "KEY_NOT_VALID")

    def test_a_spoilt_quantum_signature_is_refused(self) -> None:
        genuine = Envelope.from_bytes(self.HYBRID.license())
        first, second = genuine.signatures
        spoilt = second._replace(sig=second.sig[:-1] + bytes([second.sig[-1] ^ 1]))
        data = Envelope(genuine.payload_type, genuine.payload, (first, spoilt)).to_bytes()
        assert refusal(data, verifier=self.VERIFIER) == ("signature", "BAD_SIGNATURE")
        assert self.HYBRID.pq_key is not None
        assert self.HYBRID.pq_key.public.algorithm == ML_DSA_65


class TestFormat:
    def test_a_test_licence_is_not_a_licence(self) -> None:
        assert refusal(VENDOR.test_license()) == ("format", "TEST_LICENSE")

    def test_a_lease_is_not_a_licence(self) -> None:
        with pytest.raises(VerificationError, match="a lease is not a licence") as caught:
            VERIFIER.verify(VENDOR.lease(), machine=MACHINE, now=NOW)
        assert (caught.value.step, str(caught.value.code)) == ("format", "UNSUPPORTED_FORMAT")

    def test_other_types_are_not_licences(self) -> None:
        for kind in (TRUST_TYPE, "application/vnd.in-toto+json"):
            data = VENDOR.signed(VENDOR.payload(), payload_type=kind)
            assert refusal(data) == ("format", "UNSUPPORTED_FORMAT")

    @pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"null", b"\xff", b'{"format":1}'])
    def test_a_signed_payload_is_read_as_strictly_as_any(self, payload: bytes) -> None:
        assert refusal(VENDOR.signed(payload))[1] == "MALFORMED"

    def test_a_later_format_says_update(self) -> None:
        assert refusal(VENDOR.license(format=2)) == ("format", "UNSUPPORTED_FORMAT")


class TestKeys:
    def test_a_licence_signed_by_the_lease_key_is_refused(self) -> None:
        assert refusal(VENDOR.signed(VENDOR.payload(), VENDOR.lease_key)) == ("key", "KEY_NOT_VALID")

    def test_the_key_must_have_been_valid_when_the_licence_was_issued(self) -> None:
        issued = datetime(2023, 6, 1, tzinfo=UTC)
        cases = {
            (issued, issued + SECOND): "OK",
            (issued + SECOND, issued + timedelta(days=9)): "KEY_NOT_VALID",
            (issued - timedelta(days=9), issued): "KEY_NOT_VALID",
        }
        for (start, end), code in cases.items():
            bundle = VENDOR.bundle_with(VENDOR.trusted(VENDOR.key, valid_from=start, valid_until=end))
            assert refusal(VENDOR.license(), verifier=Verifier(bundle))[1] == code

    def test_what_a_retired_key_signed_in_its_time_stays_valid(self) -> None:
        bundle = VENDOR.bundle_with(VENDOR.trusted(VENDOR.key, status=RETIRED))
        assert refusal(VENDOR.license(), verifier=Verifier(bundle)) == ("", "OK")

    def test_a_compromised_key_counts_for_nothing(self) -> None:
        bundle = VENDOR.bundle_with(VENDOR.trusted(VENDOR.key, status=COMPROMISED))
        assert refusal(VENDOR.license(), verifier=Verifier(bundle)) == ("key", "KEY_COMPROMISED")

    def test_a_compromised_key_does_not_spoil_what_a_good_key_signed(self) -> None:
        leaked = Key("leaked")
        bundle = VENDOR.bundle_with(VENDOR.trusted(VENDOR.key), VENDOR.trusted(leaked, status=COMPROMISED))
        data = VENDOR.signed(VENDOR.payload(), leaked, VENDOR.key)
        found = Verifier(bundle).verify(data, machine=MACHINE, now=NOW)
        assert found.signers == (VENDOR.key.public.keyid,)

    def test_a_licence_key_and_a_lease_key_together_count_as_the_licence_key(self) -> None:
        bundle = VENDOR.bundle_with(VENDOR.trusted(VENDOR.key), VENDOR.trusted(VENDOR.lease_key, LEASE))
        data = VENDOR.signed(VENDOR.payload(), VENDOR.lease_key, VENDOR.key)
        assert Verifier(bundle).verify(data, machine=MACHINE, now=NOW).signers == (VENDOR.key.public.keyid,)

    def test_one_key_under_two_ids_is_no_bundle(self) -> None:
        twin = Key("vendor license", keyid="twin")
        with pytest.raises(TrustError, match="twice"):
            VENDOR.bundle_with(VENDOR.trusted(VENDOR.key), VENDOR.trusted(twin))


class TestRules:
    """Each file is signed with the right key and breaks one rule."""

    @pytest.mark.parametrize(
        ("changes", "step", "code"),
        [
            ({"product": "NOPE"}, "product", "WRONG_PRODUCT"),
            ({"user": None}, "product", "MALFORMED"),
            ({"sessions": 2}, "product", "MALFORMED"),
            ({"product": "KRE", "user": "ada@example.com"}, "product", "MALFORMED"),
            ({"subscription__term": "monthly"}, "annual", "NOT_ANNUAL"),
            ({"subscription__term": "trial"}, "annual", "NOT_ANNUAL"),
            ({"subscription__term": "Annual"}, "annual", "NOT_ANNUAL"),
            ({"subscription__ends_at": "2024-05-31T00:00:00Z"}, "annual", "NOT_ANNUAL"),
            ({"subscription__ends_at": "2023-06-01T00:00:00Z"}, "annual", "NOT_ANNUAL"),
            ({"subscription__ends_at": "2022-06-01T00:00:00Z"}, "annual", "NOT_ANNUAL"),
            ({"issued_at": "2024-01-17T00:00:00Z"}, "sunset", "ISSUED_AFTER_SUNSET"),
            ({"expires_at": "2024-06-01T00:00:01Z"}, "expiry", "EXPIRY_AFTER_SUBSCRIPTION"),
            ({"expires_at": "2023-06-01T00:00:00Z"}, "expiry", "EXPIRY_IN_PAST"),
            ({"expires_at": "2023-05-01T00:00:00Z"}, "expiry", "EXPIRY_IN_PAST"),
            ({"machine_id": str(OTHER_MACHINE)}, "machine", "MACHINE_MISMATCH"),
            ({"machine_id": str(OTHER_USER)}, "machine", "USER_MISMATCH"),
            ({"machine_id": "mid1nonsense"}, "machine", "MALFORMED"),
            ({"machine_id": str(MACHINE).upper()}, "machine", "MALFORMED"),
        ],
    )
    def test_a_file_of_the_right_key_that_breaks_a_rule_is_refused(
        self, changes: dict[str, object], step: str, code: str
    ) -> None:
        assert refusal(VENDOR.license(**changes)) == (step, code)

    def test_issued_after_the_end_of_the_subscription_is_refused(self) -> None:
        vendor = Vendor(policy=default_policy(sunset=None))
        data = vendor.license(
            subscription__starts_at="2022-06-01T00:00:00Z",
            subscription__ends_at="2023-06-01T00:00:00Z",
            expires_at="2023-06-01T00:00:00Z",
        )
        assert refusal(data, verifier=Verifier(vendor.bundle)) == ("expiry", "SUBSCRIPTION_ENDED")

    def test_the_sunset_is_an_instant(self) -> None:
        before = VENDOR.license(issued_at="2024-01-16T23:59:59Z")
        assert refusal(before, at=datetime(2024, 1, 17, tzinfo=UTC)) == ("", "OK")

    def test_without_a_sunset_issuing_goes_on(self) -> None:
        vendor = Vendor(policy=default_policy(sunset=None))
        data = vendor.license(issued_at="2024-01-17T00:00:00Z")
        at = datetime(2024, 2, 1, tzinfo=UTC)
        assert refusal(data, verifier=Verifier(vendor.bundle), at=at) == ("", "OK")

    def test_the_expiry_is_an_exclusive_instant(self) -> None:
        assert refusal(VENDOR.license(), at=EXPIRES - SECOND) == ("", "OK")
        assert refusal(VENDOR.license(), at=EXPIRES) == ("expiry", "EXPIRED")

    def test_an_earlier_expiry_counts(self) -> None:
        data = VENDOR.license(expires_at="2023-12-01T12:00:00Z")
        assert refusal(data, at=NOW - SECOND) == ("", "OK")
        assert refusal(data, at=NOW) == ("expiry", "EXPIRED")

    def test_the_start_of_the_subscription_is_the_first_valid_instant(self) -> None:
        data = VENDOR.license(
            subscription__starts_at="2023-07-01T00:00:00Z",
            subscription__ends_at="2024-07-01T00:00:00Z",
        )
        start = datetime(2023, 7, 1, tzinfo=UTC)
        assert refusal(data, at=start) == ("", "OK")
        assert refusal(data, at=start - SECOND) == ("expiry", "NOT_YET_VALID")

    def test_a_leap_day_subscription_is_a_whole_year(self) -> None:
        data = VENDOR.license(
            subscription__starts_at="2020-02-29T00:00:00Z",
            subscription__ends_at="2024-02-29T00:00:00Z",
            expires_at="2024-02-29T00:00:00Z",
        )
        assert refusal(data) == ("", "OK")

    def test_another_product_than_the_wanted_one_is_refused(self) -> None:
        verifier = Verifier(VENDOR.bundle, "KRE")
        assert refusal(VENDOR.license(), verifier=verifier) == ("product", "WRONG_PRODUCT")
        assert refusal(VENDOR.license(product="KRE"), verifier=verifier) == ("", "OK")


class TestMachine:
    @pytest.mark.parametrize(
        ("probed", "code"),
        [
            (OTHER_MACHINE, "MACHINE_MISMATCH"),
            (OTHER_USER, "USER_MISMATCH"),
            (machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[]), "MACHINE_INDETERMINATE"),
            (machine(user_id=["1001"]), "OK"),
            (machine(user_name=["bob"]), "OK"),
            (MachineID({}), "MACHINE_INDETERMINATE"),
        ],
    )
    def test_hardware_first_then_the_user(self, probed: MachineID, code: str) -> None:
        assert refusal(VENDOR.license(), on=probed)[1] == code

    def test_an_unreadable_machine_could_not_be_checked(self) -> None:
        probed = machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[])
        with pytest.raises(CouldNotVerifyError) as caught:
            VERIFIER.verify(VENDOR.license(), machine=probed, now=NOW)
        assert caught.value.details["components"]["firmware-uuid"] == "unreadable"

    def test_a_mistyped_machine_id_is_the_callers_fault(self) -> None:
        typed = str(MACHINE)[:-1] + ("q" if str(MACHINE)[-1] != "q" else "p")
        with pytest.raises(CouldNotVerifyError) as caught:
            VERIFIER.verify(VENDOR.license(), machine=typed, now=NOW)
        assert (str(caught.value.code), caught.value.details["positions"]) == ("INVALID_INPUT", [len(typed)])

    def test_one_verifier_serves_machines_in_turn(self) -> None:
        verifier = Verifier(VENDOR.bundle)
        for probed, code in [(MACHINE, "OK"), (OTHER_MACHINE, "MACHINE_MISMATCH"), (str(MACHINE), "OK")]:
            assert refusal(VENDOR.license(), verifier=verifier, on=probed)[1] == code

    def test_a_policy_can_forbid_instance_files(self) -> None:
        in_container = MachineID.from_values(
            {"instance": ["0" * 32], "user-id": ["1000"], "user-name": ["ada"]}, instance_source="instance-file"
        )
        strict = Vendor(policy=default_policy()._replace(forbidden_evidence=("instance-file",)))
        data = strict.license(machine_id=str(in_container))
        assert refusal(data, verifier=Verifier(strict.bundle), on=in_container) == ("machine", "MACHINE_WEAK")
        assert refusal(VENDOR.license(machine_id=str(in_container)), on=in_container) == ("", "OK")


class TestClockFloors:
    def test_now_may_not_precede_the_signed_instants_by_more_than_five_minutes(self) -> None:
        issued = datetime(2023, 9, 1, tzinfo=UTC)
        data = VENDOR.license(issued_at="2023-09-01T00:00:00Z")
        assert refusal(data, at=issued - timedelta(minutes=5)) == ("", "OK")
        assert refusal(data, at=issued - timedelta(minutes=5) - SECOND) == ("clock", "CLOCK_ROLLED_BACK")

    def test_the_trust_bundle_is_a_floor_too(self) -> None:
        vendor = Vendor(issued_at=datetime(2024, 1, 1, tzinfo=UTC))
        verifier = Verifier(vendor.bundle)
        assert refusal(vendor.license(), verifier=verifier) == ("clock", "CLOCK_ROLLED_BACK")
        assert refusal(vendor.license(), verifier=verifier, at=datetime(2024, 1, 1, tzinfo=UTC)) == ("", "OK")

    def test_a_licence_once_seen_expired_is_not_brought_back_by_an_earlier_clock(self, tmp_path: Path) -> None:
        verifier = Verifier(VENDOR.bundle, clock=ClockGuard(tmp_path))
        assert refusal(VENDOR.license(), verifier=verifier, at=EXPIRES + timedelta(days=400)) == ("expiry", "EXPIRED")
        again = Verifier(VENDOR.bundle, clock=ClockGuard(tmp_path))
        assert refusal(VENDOR.license(), verifier=again) == ("clock", "CLOCK_ROLLED_BACK")

    def test_an_expired_licence_spoils_no_later_one(self, tmp_path: Path) -> None:
        verifier = Verifier(VENDOR.bundle, clock=ClockGuard(tmp_path))
        first = VENDOR.license(expires_at="2023-10-01T00:00:00Z")
        assert refusal(first, verifier=verifier, at=EXPIRES + timedelta(days=400)) == ("expiry", "EXPIRED")
        assert refusal(VENDOR.license(), verifier=verifier) == ("", "OK")


class TestTestLicences:
    def test_say_that_the_machine_id_is_right(self) -> None:
        found = VERIFIER.verify_test(VENDOR.test_license(), machine=MACHINE, now=NOW)
        assert (found.product, found.machine_id, found.expires_at) == ("KSE", str(MACHINE), EXPIRES)
        assert (found.test_id, found.organization_name) == (found.to_dict()["test_id"], "Example Organisation")
        assert repr(found) == f"<VerifiedTestLicense KSE {found.test_id} until 2024-06-01T00:00:00Z>"

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (VENDOR.test_license(machine_id=str(OTHER_MACHINE)), "MACHINE_MISMATCH"),
            (VENDOR.test_license(machine_id=str(OTHER_USER)), "USER_MISMATCH"),
            (VENDOR.test_license(expires_at="2023-12-01T12:00:00Z"), "EXPIRED"),
            (VENDOR.test_license(product="NOPE"), "WRONG_PRODUCT"),
            (VENDOR.test_license(VENDOR.lease_key), "KEY_NOT_VALID"),
            (VENDOR.license(), "UNSUPPORTED_FORMAT"),
            (VENDOR.test_license(issued_at="0001-01-01T00:04:59Z"), "KEY_NOT_VALID"),
            (VENDOR.test_license(issued_at="9999-12-31T23:59:59Z"), "KEY_NOT_VALID"),
        ],
    )
    def test_refuse_like_licences(self, data: bytes, code: str) -> None:
        with pytest.raises(VerificationError) as caught:
            VERIFIER.verify_test(data, machine=MACHINE, now=NOW)
        assert str(caught.value.code) == code


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:04:59Z", "9999-12-31T23:59:58Z"])
def test_the_first_and_last_minutes_of_all_years_are_instants_like_others(at: str) -> None:
    ages = {"valid_from": datetime.min.replace(tzinfo=UTC), "valid_until": datetime.max.replace(tzinfo=UTC)}
    vendor = Vendor(issued_at=datetime.min.replace(tzinfo=UTC))
    verifier = Verifier(vendor.bundle_with(vendor.trusted(vendor.key, **ages)))
    data = vendor.test_license(issued_at=at, expires_at="9999-12-31T23:59:59Z")
    now = datetime.fromisoformat(at)
    assert verifier.verify_test(data, machine=MACHINE, now=now)
    assert verifier.explain_test(data, machine=MACHINE, now=now).valid


class TestReports:
    NAMES = tuple(name for name, _ in STEPS)

    def test_a_valid_licence_passes_every_step(self) -> None:
        report = VERIFIER.explain(VENDOR.license(), machine=MACHINE, now=NOW)
        assert [(check.name, check.ok, check.code) for check in report.checks] == [
            (name, True, "OK") for name in self.NAMES
        ]
        assert report.to_dict()["license"] == VENDOR.payload()
        assert (report.valid, report.code, report.next) == (True, "OK", "Nothing to do.")

    def test_steps_after_the_failing_one_are_not_reached(self) -> None:
        report = VERIFIER.explain(VENDOR.license(subscription__term="monthly"), machine=MACHINE, now=NOW)
        at = self.NAMES.index("annual")
        assert [check.ok for check in report.checks] == [True] * at + [False] + [None] * (len(STEPS) - at - 1)
        assert report.to_dict() == {
            "valid": False,
            "code": "NOT_ANNUAL",
            "checks": [check._asdict() for check in report.checks],
            "license": None,
            "next": "Only annual subscriptions can be converted to an offline licence. Activate online.",
        }

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            VENDOR.license(),
            VENDOR.lease(),
            VENDOR.license(expires_at="2023-07-01T00:00:00Z"),
            VENDOR.license(machine_id=str(OTHER_USER)),
            Vendor(name="other").license(),
        ],
    )
    def test_agree_with_verify(self, data: bytes) -> None:
        report = VERIFIER.explain(data, machine=MACHINE, now=NOW)
        failed = [check.name for check in report.checks if check.ok is False]
        assert ((failed or [""])[0], str(report.code)) == refusal(data)

    def test_of_test_licences_have_their_own_steps(self) -> None:
        report = VERIFIER.explain_test(VENDOR.test_license(), machine=MACHINE, now=NOW)
        assert (report.valid, [check.name for check in report.checks if check.name in {"annual", "sunset"}]) == (
            True,
            [],
        )

    def test_say_when_the_machine_was_repaired(self) -> None:
        report = VERIFIER.explain(VENDOR.license(), machine=machine(disk=["NEW-DISK-1"]), now=NOW)
        assert next(check.detail for check in report.checks if check.name == "machine").endswith(
            "(enough of the hardware is the same)"
        )


class TestProgrammerErrors:
    def test_text_is_not_bytes(self) -> None:
        with pytest.raises(TypeError, match="bytes of a licence file"):
            VERIFIER.verify("licence", machine=MACHINE, now=NOW)

    @pytest.mark.parametrize("machine_id", [None, 5, b"mid1"])
    def test_a_machine_is_an_id_its_text_or_a_probe(self, machine_id: object) -> None:
        with pytest.raises(TypeError, match="machine must be"):
            VERIFIER.verify(VENDOR.license(), machine=machine_id, now=NOW)

    def test_now_must_be_aware(self) -> None:
        with pytest.raises(TypeError, match="aware"):
            VERIFIER.verify(VENDOR.license(), machine=MACHINE, now=datetime(2023, 12, 1))  # noqa: DTZ001 - the mistake

    def test_example_keys_are_refused_unless_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keyseat_shared.trust.EXAMPLE_PUBLIC_KEYS", frozenset({VENDOR.key.public.raw}))
        with pytest.raises(TrustError) as caught:
            Verifier(VERIFIER.trust)
        assert str(caught.value.code) == "EXAMPLE_KEY"
        assert refusal(VENDOR.license(), verifier=Verifier(VERIFIER.trust, allow_example_keys=True)) == ("", "OK")


def test_the_present_instant_is_the_default() -> None:
    with freeze_time(EXPIRES - SECOND):
        assert VERIFIER.verify(VENDOR.license(), machine=MACHINE).expires_at == EXPIRES
    with freeze_time(EXPIRES), pytest.raises(VerificationError, match="EXPIRED"):
        VERIFIER.verify(VENDOR.license(), machine=MACHINE)


def test_nested_payloads_cannot_be_smuggled_in_as_envelopes() -> None:
    inner = VENDOR.license()
    assert refusal(envelope(LICENSE_TYPE, inner, [VENDOR.key])) == ("format", "MALFORMED")


class TestAStaleBundle:
    """Freshness is asked last: what is a plain no says so, and the clock has seen the day."""

    def test_is_told_after_the_clock_was_asked(self) -> None:
        class Guard:
            def __init__(self) -> None:
                self.asked: list[datetime] = []

            def check(self, now: datetime, machine_id: str, **_: object) -> None:
                self.asked.append(now)

            def saw(self, at: datetime, machine_id: str) -> None:
                raise AssertionError

        vendor = Vendor(policy=default_policy()._replace(freshness_required=("lease", "offline")))
        vendor.fresh_until = NOW
        guard = Guard()
        verifier = Verifier(vendor.bundle, clock=guard)

        with pytest.raises(CouldNotVerifyError, match="TRUST_STALE") as caught:
            verifier.verify(vendor.license(), machine=MACHINE, now=NOW)
        with pytest.raises(CouldNotVerifyError, match="TRUST_STALE"):
            verify_lease(verifier, vendor.lease(), machine=MACHINE, now=NOW)

        assert ("clock", [NOW, NOW]) == (caught.value.step, guard.asked)
        assert {"version": 1, "fresh_until": "2023-12-01T12:00:00Z"} == caught.value.details
        report = verifier.explain(vendor.license(), machine=MACHINE, now=NOW)
        assert (False, "TRUST_STALE") == (report.valid, report.code)
