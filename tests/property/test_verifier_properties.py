"""Whatever the bytes, verification ends in a value or in a VerificationError; no change to a file goes unnoticed."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import VerificationError
from keyseat_shared.payloads import LicensePayload
from keyseat_shared.policy import default_policy
from keyseat_verifier import Verifier
from vendor import MACHINE, NOW, OTHER_MACHINE, Vendor

VENDOR = Vendor()
VERIFIER = Verifier(VENDOR.bundle)
GENUINE = VENDOR.license()
ENVELOPE = json.loads(GENUINE)
PAYLOAD = VENDOR.payload()

LICENSES = (
    Envelope.from_bytes(GENUINE).payload,
    Envelope.from_bytes(VENDOR.license(product="KRE", user=None)).payload,
)
PIECES = (b'"', b"\\", b'\\"', b"\\u0041", b"null", b"true", b" ", b"1.0", b"01", b"-", b"\x7f", b"\xc2\xa0")
T = TypeVar("T")

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner), max_leaves=8
)


def ends_well(data: bytes) -> bool:
    """Return whether the bytes verify; any error but a VerificationError escapes and fails the test."""
    with contextlib.suppress(VerificationError):
        VERIFIER.verify(data, machine=MACHINE, now=NOW)
        return True
    return False


@given(st.binary(max_size=2000))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert not ends_well(data)


@given(VALUES)
def test_random_json_is_refused(value: object) -> None:
    assert not ends_well(json.dumps(value).encode())


@given(st.sampled_from(sorted(ENVELOPE)), VALUES)
def test_an_envelope_with_another_value_is_refused(key: str, value: object) -> None:
    if value != ENVELOPE[key]:
        assert not ends_well(json.dumps(ENVELOPE | {key: value}).encode())


@given(st.sampled_from(sorted(PAYLOAD)), VALUES)
def test_a_signed_payload_with_an_odd_value_ends_well(key: str, value: object) -> None:
    ends_well(VENDOR.signed(json.dumps(PAYLOAD | {key: value}).encode()))


@given(st.binary(max_size=500))
def test_a_signed_payload_of_random_bytes_is_refused(payload: bytes) -> None:
    assert not ends_well(VENDOR.signed(payload))


@given(st.integers(0, len(GENUINE) - 1), st.integers(0, len(GENUINE) - 1))
def test_a_file_with_a_piece_missing_is_refused_or_the_same(start: int, end: int) -> None:
    data = GENUINE[:start] + GENUINE[max(start, end) :]
    assert ends_well(data) == (_content(data) == _content(GENUINE))


@pytest.mark.parametrize("value", [0x00, 0x20, 0x22, 0x41, 0x5C, 0x7D, 0xFF, None])
def test_every_single_byte_change_leaves_the_content_or_is_refused(value: int | None) -> None:
    for place, byte in enumerate(GENUINE):
        changed = byte ^ 1 if value is None else value
        if changed == byte:
            continue
        data = GENUINE[:place] + bytes([changed]) + GENUINE[place + 1 :]
        assert ends_well(data) == (_content(data) == _content(GENUINE)), (place, changed)


def test_a_few_bytes_of_white_space_may_change() -> None:
    spread = json.dumps(ENVELOPE, indent=2).encode()
    assert ends_well(spread)
    assert _content(spread) == _content(GENUINE)


def _read(data: bytes, reader: Callable[[bytes], T]) -> T | str:
    try:
        return reader(data)
    except VerificationError as error:
        return str(error)


def _judged(data: bytes, reader: Callable[[bytes], T]) -> T | ReasonCode:
    try:
        return reader(data)
    except VerificationError as error:
        return error.code


def test_the_usual_spelling_is_read_like_any_json_untouched() -> None:
    assert Envelope.from_bytes(GENUINE) == Envelope._from_any_json(GENUINE)


@given(st.integers(0, len(GENUINE) - 1), st.binary(max_size=3))
def test_the_usual_spelling_is_read_like_any_json_damaged(place: int, piece: bytes) -> None:
    data = GENUINE[:place] + piece + GENUINE[place + 1 :]
    if data:
        assert _read(data, Envelope.from_bytes) == _read(data, Envelope._from_any_json)


@pytest.mark.parametrize("license_", LICENSES, ids=["named", "floating"])
def test_the_usual_licence_is_read_like_any_json_untouched(license_: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(LicensePayload, "_from_any_json")
        usual = LicensePayload.from_bytes(license_)
    assert LicensePayload._from_any_json(license_) == usual


@given(st.sampled_from(LICENSES), st.data(), st.binary(max_size=3) | st.sampled_from(PIECES), st.integers(0, 3))
def test_the_usual_licence_is_judged_like_any_json_damaged(
    license_: bytes, data: st.DataObject, piece: bytes, cut: int
) -> None:
    place = data.draw(st.integers(0, len(license_)))
    damaged = license_[:place] + piece + license_[place + cut :]
    assert _judged(damaged, LicensePayload._from_any_json) == _judged(damaged, LicensePayload.from_bytes)


@given(st.text(alphabet="mid1qpzry9x8gf2tvdw0s3jn54khce6ua7l- ", max_size=100))
def test_any_text_for_a_machine_ends_well(text: str) -> None:
    with contextlib.suppress(VerificationError):
        VERIFIER.verify(GENUINE, machine=text, now=NOW)
        raise AssertionError(text)


@given(st.data())
def test_reports_and_errors_agree_on_damaged_files(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GENUINE) - 1))
    damaged = GENUINE[:place] + data.draw(st.binary(min_size=1, max_size=3)) + GENUINE[place + 1 :]
    report = VERIFIER.explain(damaged, machine=OTHER_MACHINE, now=NOW)
    with pytest.raises(VerificationError) as caught:
        VERIFIER.verify(damaged, machine=OTHER_MACHINE, now=NOW)
    assert (report.valid, report.code) == (False, caught.value.code)


def _content(data: bytes) -> tuple[str, bytes, list[bytes]] | None:
    """Return what the verifier would see: type, payload and the signatures by the vendor's key."""
    try:
        found = Envelope.from_bytes(data)
    except VerificationError:
        return None
    return found.payload_type, found.payload, [s.sig for s in found.signatures if s.keyid == VENDOR.key.public.keyid]


SECONDS = st.integers(0, 90 * 86400)


@given(st.integers(0, 4 * 365 * 86400), SECONDS, SECONDS, st.integers(1, 90 * 86400), st.data())
def test_a_lease_never_counts_longer_than_the_policy_lets_it(
    issued: int, renew: int, lasts: int, ttl: int, data: st.DataObject
) -> None:
    policy = default_policy()._replace(lease_ttl=ttl, lease_renew_after=data.draw(st.integers(1, ttl)))
    issued_at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=issued)
    signed = issued_at + timedelta(seconds=min(renew, lasts)), issued_at + timedelta(seconds=lasts)

    renew_after, expires_at = rules.lease_bounds(issued_at, *signed, policy)

    assert issued_at <= renew_after <= expires_at <= signed[1]
    assert renew_after <= signed[0]
    assert (expires_at - issued_at).total_seconds() == min(lasts, ttl)
    assert (renew_after, expires_at) == rules.lease_bounds(issued_at, renew_after, expires_at, policy)
